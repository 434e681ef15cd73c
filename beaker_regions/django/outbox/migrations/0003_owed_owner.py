from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("regions_outbox", "0002_alter_owed_created_at")]

    operations = [
        migrations.AddField(
            model_name="owed",
            name="owner",
            field=models.CharField(blank=True, db_default="", default="", max_length=80),
        ),
    ]
