"""URLs of the site."""

from django.apps import apps
from django.contrib import admin
from django.urls import include, path

from beaker_regions.django import scrape
from tasks.throttling import throttled_log_in
from tasks.views import account, accounts

urlpatterns = [
    path("", include("tasks.urls")),
    path("accounts/login/", accounts.LogIn.as_view(), name="login"),
    path("accounts/logout/", accounts.LogOut.as_view(), name="logout"),
    path("accounts/password/", account.ChangePassword.as_view(), name="password_change"),
    path("accounts/delete/", account.delete_account, name="delete_account"),
    path("accounts/signup/", accounts.SignUp.as_view(), name="signup"),
    path("regions/", include("beaker_regions.django.staff.urls")),
    path("metrics", scrape, name="metrics"),
    path("admin/login/", throttled_log_in(admin.site.login)),
    path("admin/", admin.site.urls),
]

if apps.is_installed("debug_toolbar"):
    from debug_toolbar.toolbar import debug_toolbar_urls

    urlpatterns += debug_toolbar_urls()

# These views use the templates 400.html, 403.html, 404.html and 500.html.
handler400 = "tasks.views.errors.bad_request"
handler403 = "django.views.defaults.permission_denied"
handler404 = "tasks.views.errors.not_found"
handler500 = "django.views.defaults.server_error"
