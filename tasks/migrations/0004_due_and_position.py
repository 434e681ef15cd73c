from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import tasks.models

STEP = 1000


def fill_positions(apps: Any, _: Any) -> None:
    """Newer tasks are above older ones, as they were, and below those that are added from now."""
    apps.get_model("tasks", "Task").objects.update(position=models.F("id") * STEP)


class Migration(migrations.Migration):
    dependencies = [("tasks", "0003_attachment")]

    operations = [
        migrations.CreateModel(
            name="Deletion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("made_at", models.DateTimeField(auto_now_add=True)),
                (
                    "list",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deletions",
                        to="tasks.tasklist",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            "task",
            "deletion",
            models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tasks",
                to="tasks.deletion",
            ),
        ),
        migrations.AddField("task", "due", models.DateField(blank=True, null=True)),
        migrations.AddField(
            "task",
            "position",
            models.BigIntegerField(default=tasks.models.latest_position, editable=False),
        ),
        migrations.AlterModelOptions("task", {"ordering": ("-position", "-id")}),
        # MySQL wants an index that begins with the list at every moment.
        migrations.AddIndex(
            "task",
            models.Index(fields=["list", "deletion", "position", "id"], name="tasks_in_order"),
        ),
        migrations.AddIndex(
            "task",
            models.Index(
                fields=["list", "deletion", "done", "position", "id"], name="tasks_by_done_in_order"
            ),
        ),
        migrations.AddIndex(
            "task",
            models.Index(fields=["list", "deletion", "done", "due"], name="tasks_by_due"),
        ),
        migrations.RemoveIndex("task", "tasks_all"),
        migrations.RemoveIndex("task", "tasks_by_done"),
        migrations.RunPython(fill_positions, migrations.RunPython.noop),
    ]
