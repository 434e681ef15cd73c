"""``manage.py purge_tasks``: remove for good the tasks whose deletion can no longer be undone."""

from typing import Any

from django.core.management.base import BaseCommand

from tasks.lists import deletions


class Command(BaseCommand):
    help = "Remove for good the tasks whose deletion can no longer be undone."

    def handle(self, *args: Any, **options: Any) -> None:
        removed = deletions.purge()
        self.stdout.write(f"Removed {removed} task{'' if removed == 1 else 's'} for good")
