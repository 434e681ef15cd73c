"""How often an address may try: passwords, new accounts, and new lists without one.

The counts are kept in a region, so that they are one for all processes and hosts. While its store
is away nothing is counted, and no visitor is kept out.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from beakercache import cache

logger = logging.getLogger(__name__)

_LONGEST = 254
"""Characters of a name that the form takes."""
_UNSEEN = {"Mn", "Mc", "Me", "Cc", "Cf", "Zs", "Zl", "Zp"}
"""Unicode categories of marks on letters, and of what leaves no mark."""

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Limit:
    """How many there may be of something in a time, which begins with the first."""

    name: str
    most: int
    seconds: int

    def count(self, *key: str) -> bool:
        """Count one more; return whether that is too many."""
        count = self._counter(*key).add() or 0
        if count == self.most + 1:
            logger.warning("More than %d %s in %d s: %r", self.most, self.name, self.seconds, key)
        return count > self.most

    def is_reached(self, *key: str) -> bool:
        return (self._counter(*key).value() or 0) >= self.most

    def forget(self, *key: str) -> None:
        self._counter(*key).reset()

    def _counter(self, *key: str) -> Any:
        return cache.counter("functions", self.name, *key, expire=self.seconds)


TRIES = Limit("tries to log in to an account", most=10, seconds=15 * 60)
"""Of an account's password, from one address. Counted before the password is checked: of many at
once, no more are checked. Logging in forgets them."""
TRIES_OF_OWNER = Limit("tries of a password by who is logged in", most=10, seconds=15 * 60)
"""Whoever finds a browser that is logged in does not know the password."""
FAILURES = Limit("failures to log in from an address", most=100, seconds=15 * 60)
"""With any names. An office or a school has one address."""
SIGN_UPS = Limit("sign-ups from an address", most=100, seconds=60 * 60)
"""Forms sent, with errors in them or not: each is costly, and tells whether a name is taken."""

NEW_LISTS = Limit("new lists of visitors from an address", most=500, seconds=60 * 60)
"""Each is made with the first task of a browser, and may have as many as `capacity` says."""


def throttled_log_in(view: View) -> View:
    """Make a view that logs in with the fields of Django's form refuse too many tries,
    whether or not there is such an account, and whether or not the password is right."""

    @functools.wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            address = address_of(request)
            name = _account(request.POST.get("username", ""))
            if FAILURES.is_reached(address):
                return _refusal(request, FAILURES)
            if TRIES.count(name, address):
                return _refusal(request, TRIES)
        return view(request, *args, **kwargs)

    return throttled


def throttled_sign_up(view: View) -> View:
    """Make a view refuse a visitor who signs up too often."""

    @functools.wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and SIGN_UPS.count(address_of(request)):
            return _refusal(request, SIGN_UPS)
        return view(request, *args, **kwargs)

    return throttled


def throttled_owner(view: View) -> View:
    """Make a view of a user that asks for the password refuse too many tries."""

    @functools.wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        posts = request.method == "POST" and request.user.is_authenticated
        if posts and TRIES_OF_OWNER.count(str(request.user.pk)):
            return _refusal(request, TRIES_OF_OWNER)
        return view(request, *args, **kwargs)

    return throttled


def count_failure(request: HttpRequest | None = None, **_: Any) -> None:
    """A receiver of user_login_failed."""
    if request is not None:
        FAILURES.count(address_of(request))


def forget_tries(request: HttpRequest, user: User, **_: Any) -> None:
    """A receiver of user_logged_in."""
    TRIES.forget(_folded(user.get_username()), address_of(request))


def address_of(request: HttpRequest) -> str:
    """Return the address that a request comes from; of IPv6 the network, as a customer has one of
    at least 64 bits."""
    given = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        # The client wrote the addresses before the last one, and may write anything.
        given = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or given
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def _account(username: str) -> str:
    """Return one text for all spellings that the database takes for one name.

    Databases fold case and accents, and leave out characters that cannot be seen, each in its own
    way. So the database is asked which user has the name. A name that no user has is folded here.
    """
    # As the form reads it before it looks for the user.
    field = UsernameField(max_length=_LONGEST)
    name = str(field.to_python(username[: _LONGEST + 1])).replace("\0", "")
    found = User.objects.filter(username=name).values_list("username", flat=True).first()
    return _folded(name if found is None else found)


def _folded(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) not in _UNSEEN)


@never_cache
def _refusal(request: HttpRequest, limit: Limit) -> HttpResponse:
    response = render(request, "429.html", {"minutes": limit.seconds // 60}, status=429)
    response.headers["Retry-After"] = str(limit.seconds)
    return response
