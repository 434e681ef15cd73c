from django.db import migrations, models

import beaker_regions.django.outbox.models


class Migration(migrations.Migration):
    dependencies = [("regions_outbox", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="owed",
            name="created_at",
            field=models.DateTimeField(
                db_default=beaker_regions.django.outbox.models.DatabaseNow(), db_index=True
            ),
        ),
    ]
