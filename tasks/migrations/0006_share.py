"""Lists that others may read."""

import django.db.models.deletion
from django.db import migrations, models

import tasks.models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0005_into")]

    operations = [
        migrations.CreateModel(
            name="Share",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "token",
                    models.CharField(default=tasks.models.random_token, max_length=32, unique=True),
                ),
                (
                    "list",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="share",
                        to="tasks.tasklist",
                    ),
                ),
            ],
        ),
    ]
