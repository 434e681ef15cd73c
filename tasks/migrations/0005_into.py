"""The folder of the site into which each file was imported. For older files it is the top one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0004_due_and_position")]

    operations = [
        migrations.AddField("importedfile", "into", models.TextField(default="", editable=False)),
    ]
