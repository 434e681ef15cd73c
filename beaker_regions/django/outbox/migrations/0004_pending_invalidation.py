from django.db import migrations


class Migration(migrations.Migration):
    """Renames the model. The table stays as it is: processes of the former release use it on."""

    dependencies = [("regions_outbox", "0003_owed_owner")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterModelTable(name="owed", table="regions_outbox_owed"),
                migrations.RenameModel(old_name="Owed", new_name="PendingInvalidation"),
            ]
        )
    ]
