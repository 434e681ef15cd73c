"""Gives Django the regions that the environment describes."""

import json
import os

from django.apps import AppConfig

from beaker_regions.django import use_manager
from tests.beaker_regions.conftest import make_manager


class UpstreamConfig(AppConfig):
    name = "tests.beaker_regions.django.upstream"

    def ready(self) -> None:
        use_manager(make_manager(**json.loads(os.environ["UPSTREAM_REGION"])))
