"""The project's settings, with one more address."""

import os
from pathlib import Path

from settings.development import *
from settings.development import TEMPLATES

STAGE = os.environ["BENCH_STAGE"]
ROOT_URLCONF = "bench.served.urls"
if STAGE == "fragments":
    TEMPLATES[0]["DIRS"] = [Path(__file__).parent / "templates"]
