"""Make the database, and tasks in it: ``python -m bench.guide.prepare TASKS``."""

import os
import sys


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.guide.settings"
    import django

    django.setup()
    from django.core.management import call_command

    from bench.guide.models import Task

    call_command("migrate", run_syncdb=True, verbosity=0)
    names = (f"Task number {number}" for number in range(int(sys.argv[1])))
    Task.objects.bulk_create(Task(name=name) for name in names)


if __name__ == "__main__":
    main()
