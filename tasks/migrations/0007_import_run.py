"""The record of each run of the import."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tasks", "0006_share"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source", models.TextField()),
                ("into", models.TextField(default="")),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("host", models.CharField(max_length=255)),
                ("process", models.CharField(max_length=64)),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("error", models.TextField(default="")),
                ("new", models.PositiveIntegerField(default=0)),
                ("changed", models.PositiveIntegerField(default=0)),
                ("unchanged", models.PositiveIntegerField(default=0)),
                ("skipped", models.PositiveIntegerField(default=0)),
                ("failed", models.PositiveIntegerField(default=0)),
                ("forgotten", models.PositiveIntegerField(default=0)),
                ("size", models.BigIntegerField(default=0)),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
    ]
