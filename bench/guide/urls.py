"""The guide's addresses."""

from django.urls import path

from bench.guide import views

urlpatterns = [
    path("", views.index),
    path("add", views.add),
    path("remove", views.remove),
]
