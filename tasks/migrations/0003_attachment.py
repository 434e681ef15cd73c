"""Files of tasks; and of each file, where it lies in the folders."""

import hashlib
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

BATCH = 500


def place(apps: Any, schema_editor: Any) -> None:
    """Fill in the new columns of the files that were imported before."""
    files = apps.get_model("tasks", "ImportedFile").objects.using(schema_editor.connection.alias)
    last = 0
    while batch := list(files.filter(pk__gt=last).order_by("pk").only("path")[:BATCH]):
        for file in batch:
            folder, _, name = file.path.rpartition("/")
            file.folder = hashlib.sha256(folder.encode("utf-8", "surrogatepass")).hexdigest()
            file.sort_name = name.casefold()[:255]
        files.bulk_update(batch, ["folder", "sort_name"])
        last = batch[-1].pk


class Migration(migrations.Migration):
    dependencies = [("tasks", "0002_source_version")]

    operations = [
        migrations.AddField(
            "importedfile", "folder", models.CharField(default="", editable=False, max_length=64)
        ),
        migrations.AddField(
            "importedfile",
            "sort_name",
            models.CharField(default="", editable=False, max_length=255),
        ),
        migrations.RunPython(place, migrations.RunPython.noop),
        migrations.AddIndex(
            "importedfile", models.Index(fields=["folder", "sort_name"], name="files_by_name")
        ),
        migrations.AddIndex(
            "importedfile", models.Index(fields=["folder", "size"], name="files_by_size")
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attachments",
                        to="tasks.importedfile",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attachments",
                        to="tasks.task",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("task", "file"), name="attached_once")
                ],
            },
        ),
    ]
