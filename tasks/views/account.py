"""What one can do with a list as a whole, and with an account."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout, views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tasks.lists import ownership, sharing
from tasks.lists.capacity import CapacityError
from tasks.throttling import throttled_owner


@never_cache
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    return render(request, "tasks/account.html", context_of(request))


def context_of(request: HttpRequest) -> dict[str, Any]:
    list_id = ownership.list_id(request)
    token = None if list_id is None else sharing.token_of(list_id)
    shared_at = token and request.build_absolute_uri(reverse("tasks:shared", args=(token,)))
    return {"shared_at": shared_at}


@require_POST
def share(request: HttpRequest) -> HttpResponse:
    """Let others read the list at a secret address."""
    try:
        with transaction.atomic():
            sharing.share(ownership.list_to_write(request))
    except CapacityError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The list can be read at its address now.")
    return HttpResponseRedirect(reverse("tasks:account"))


@require_POST
def stop_sharing(request: HttpRequest) -> HttpResponse:
    if sharing.stop(ownership.list_id(request)):
        messages.success(request, "The list is no longer shared: its address leads nowhere.")
    return HttpResponseRedirect(reverse("tasks:account"))


@method_decorator([never_cache, throttled_owner], name="dispatch")
class ChangePassword(views.PasswordChangeView):
    """Change the password; other browsers of the user are logged out."""

    template_name = "registration/password.html"
    success_url = reverse_lazy("tasks:account")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, "The password is changed.")
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


@never_cache
@sensitive_post_parameters()
@login_required
@throttled_owner
@require_http_methods(["GET", "HEAD", "POST"])
def delete_account(request: HttpRequest) -> HttpResponse:
    """Delete the user, with the list and all that belongs to it, if the password is right."""
    error = ""
    if request.method == "POST":
        assert isinstance(request.user, User)
        if not request.user.check_password(request.POST.get("password", "")):
            error = "This is not your password."
        else:
            user = request.user
            with transaction.atomic():
                logout(request)
                user.delete()
            messages.success(request, "Your account and its tasks are deleted.")
            return HttpResponseRedirect(reverse("tasks:list"))
    context = {"error": error}
    return render(
        request, "registration/delete_account.html", context, status=422 if error else 200
    )
