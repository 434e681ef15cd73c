"""Tells Django of the regions that the environment describes."""

import json
import os

from django.apps import AppConfig

from beaker_regions.django.pages.dependencies import install
from tests.beaker_regions.conftest import make_manager


class UpstreamConfig(AppConfig):
    name = "tests.beaker_regions.django.upstream"

    def ready(self) -> None:
        install(make_manager(**json.loads(os.environ["UPSTREAM_REGION"])))
