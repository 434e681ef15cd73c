"""The Django application of the staff's pages."""

from django.apps import AppConfig


class StaffConfig(AppConfig):
    name = "beaker_regions.django.staff"
    label = "regions_staff"
    verbose_name = "Regions, for the staff"
    default_auto_field = "django.db.models.BigAutoField"
