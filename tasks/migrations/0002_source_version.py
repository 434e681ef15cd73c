"""Versions of every kind of source in place of times, and what each file was imported with."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import CharField
from django.db.models.functions import Cast


def fill(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    imported = apps.get_model("tasks", "ImportedFile").objects
    imported.update(version=Cast("source_mtime_ns", CharField(max_length=255)))
    # Of the files that were no links, the source is their root and their path.
    for row in imported.only("source", "path").iterator(500):
        for between in ("//", "/"):
            if row.source.endswith(between + row.path):
                row.root = row.source[: -len(between + row.path)] or "/"
                row.save(update_fields=["root"])
                break


class Migration(migrations.Migration):
    dependencies = [("tasks", "0001_initial")]

    operations = [
        migrations.AddField(
            "importedfile", "version", models.CharField(default="", max_length=255)
        ),
        migrations.AddField("importedfile", "root", models.TextField(default="")),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.RemoveField("importedfile", "source_mtime_ns"),
    ]
