"""URLs of the staff's pages."""

from django.urls import path

from beaker_regions.django.staff import views

app_name = "regions"
urlpatterns = [
    path("", views.index, name="index"),
    path("function/", views.function, name="function"),
    path("invalidate/", views.invalidate, name="invalidate"),
]
