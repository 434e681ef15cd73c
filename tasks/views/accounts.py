"""Accounts: sign up, log in, log out."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import login, views
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from tasks.forms import SignUpForm
from tasks.throttling import throttled_log_in, throttled_sign_up


@method_decorator(throttled_log_in, name="dispatch")
class LogIn(views.LoginView):
    """Log in, and add the visitor's tasks to the list of the account."""

    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        # One transaction, so that a failure changes neither the visitor's session nor the list.
        with transaction.atomic():
            return super().form_valid(form)

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


class LogOut(views.LogoutView):
    """Log out, and say so."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        was_user = request.user.is_authenticated
        response = super().post(request, *args, **kwargs)
        if was_user:
            messages.success(request, "You are logged out. Your list is kept in your account.")
        return response


@method_decorator([sensitive_post_parameters(), never_cache, throttled_sign_up], name="dispatch")
class SignUp(FormView):  # type: ignore[type-arg]
    """Create an account and log in to it."""

    form_class = SignUpForm
    template_name = "registration/signup.html"
    success_url = reverse_lazy("tasks:list")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return HttpResponseRedirect(reverse("tasks:list"))
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        user = form.save(commit=False)  # slow on purpose: it hashes the password
        try:
            with transaction.atomic():
                user.save()
                login(self.request, user)
        except IntegrityError:
            # Another visitor took the name after the form was checked.
            form.add_error("username", user.unique_error_message(type(user), ("username",)))
            return self.form_invalid(form)
        return super().form_valid(form)

    def form_invalid(self, form: SignUpForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)
