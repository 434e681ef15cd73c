"""On one machine, with nothing to configure: what `make run` uses."""

import os

from regions.secrets import secret_key
from settings.base import *
from settings.base import VAR

SECRET_KEY = secret_key(VAR / "secret_key")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
