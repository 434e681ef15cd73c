from __future__ import annotations

from django.apps import AppConfig


class WatchedConfig(AppConfig):
    name = "tests.beaker_regions.django.models"
    label = "watched"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from beaker_regions.django import declare_row_tags
        from tests.beaker_regions.django.models.models import Book

        declare_row_tags(
            Book.topics.through, "book topics:{book_id}", "topic books:{topic_id}", limit=20
        )
