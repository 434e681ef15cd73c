"""What Django needs of the regions. Add "regions.django" to INSTALLED_APPS."""
