"""Pages for the staff: the activity of the regions and their functions, and ways to invalidate.

Put "beaker_regions.django.staff" into INSTALLED_APPS before "django.contrib.admin", so that the
admin's header has a link to it. Include its URLs (`beaker_regions.django.staff.urls`).
"""
