"""The project's settings, with one more address."""

import os

from settings.development import *

STAGE = os.environ["BENCH_STAGE"]
ROOT_URLCONF = "bench.served.urls"
