"""The staff's pages: what the regions and their functions do, and ways to invalidate.

Put "beaker_regions.django.staff" into INSTALLED_APPS before "django.contrib.admin", whose header it
links from, and its addresses (`beaker_regions.django.staff.urls`) wherever they are to be.
"""
