"""What Django needs of the regions. Add "beaker_regions.django" to INSTALLED_APPS."""
