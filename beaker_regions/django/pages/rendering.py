"""Renders a page for the store, and finds the reasons why a page may not be stored."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, Self

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase

from beaker_regions.django.pages.dependencies import recording
from beaker_regions.django.pages.origin import ORIGIN, Origin, not_stored
from beaker_regions.django.pages.placeholders import Filling, OpenPlaceholders
from beaker_regions.django.pages.responses import CREDENTIALS, Page, page_from, varies_on
from beaker_regions.django.pages.vary_by import is_authenticated, loaded_user, user_reason
from beaker_regions.telemetry.tracing import collecting

_NOT_FOR_OTHERS = re.compile(
    r"(?:^|,)\s*(?:(private|no-store|no-cache)\b|((?:s-maxage|max-age)\s*=\s*\"?0+\"?\s*(?:,|$)))",
    re.IGNORECASE,
)

ANSWERS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)
"""Exceptions that Django turns into a response: they are a view's answer, and no failure."""


class Uncacheable(NamedTuple):
    """A view's answer to one visitor, which is not stored."""

    response: Any = None
    error: Exception | None = None
    reason: str = ""

    def answer(self) -> Any:
        """Return the response, or raise the view's exception."""
        if self.error is not None:
            raise self.error
        return self.response


class PageAbout(NamedTuple):
    """Which page is rendered."""

    region: str
    view: str
    tags: tuple[str, ...]


class Rendering:
    """In this block, a view answers for the store. ``about``: which page it is. ``is_shared``: the
    page is for all visitors."""

    def __init__(
        self,
        request: HttpRequest,
        about: PageAbout,
        vary_by: object = None,
        *,
        is_shared: bool = True,
    ) -> None:
        self._request = request
        self._about = about
        self._started = time.perf_counter()
        self._vary_by = vary_by
        self._is_shared = is_shared
        self._user = None if is_shared else loaded_user(request)
        self.response: Any = None
        self.error: Exception | None = None
        self.rolled_back = False
        """Whether the view's transaction was rolled back."""
        self._blocks = ExitStack()
        self.placeholders = OpenPlaceholders(request)
        # The view itself has not read what `vary_by` has read.
        self.access = VisitorAccess(request, ignore_earlier=vary_by is not None)

    def __enter__(self) -> Self:
        self._blocks.enter_context(self.placeholders)
        self._blocks.enter_context(self.access)
        self.recorder = self._blocks.enter_context(recording())
        self._collected = self._blocks.enter_context(collecting())
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> bool:
        self._blocks.close()
        if isinstance(error, ANSWERS):
            self.error = error
            return True
        return False

    def outcome(self, max_age: float | None) -> Page | Uncacheable | None:
        """Return the page to store, or the answer for this visitor alone. None if a placeholder
        cannot be found in the response: the view then answers again, without placeholders."""
        response, placeholders = self.response, self.placeholders
        if self.error is not None:
            return Uncacheable(error=self.error)
        if not isinstance(response, HttpResponseBase):
            return Uncacheable(response)  # Django raises the right error
        pieces = placeholders.pieces(
            response.content if isinstance(response, HttpResponse) else b""
        )
        if placeholders.is_hidden(pieces, response.headers.values()):
            return None
        reason = uncacheable_reason(response, self._is_shared)
        reason = reason or self.access.uncacheable_reason(self._is_shared)
        if not self._is_shared:
            reason = reason or user_reason(self._request, self._user)
        if self.rolled_back:
            reason = reason or "its transaction was rolled back"
        if placeholders.rotated:
            reason = reason or "the view changed the CSRF secret"
        if self.recorder.has_unknown:
            reason = reason or (
                "a fragment in it was rendered in a transaction, or its store is unavailable"
            )
        seconds, details = time.perf_counter() - self._started, ""
        if ORIGIN in pieces.placeholders:
            details = Origin(*self._about, self._collected.calls).details()
        if not reason and isinstance(response, HttpResponse):
            dependencies = self.recorder.dependencies
            return page_from(
                *(self._request, response, pieces, dependencies, self._vary_by, max_age),
                *(seconds, details, placeholders.without_messages),
            )
        if pieces.placeholders and isinstance(response, HttpResponse):
            origin = partial(not_stored, seconds, reason, details)
            filling = Filling(self._request, pieces, response.charset, origin)
            response.content = filling.content()
        return Uncacheable(response, reason=reason)


class VisitorAccess:
    """In this block, notes whether a view reads or changes data of its visitor.
    ``ignore_earlier``: an earlier read of the session does not count."""

    def __init__(self, request: HttpRequest, *, ignore_earlier: bool) -> None:
        self._request = request
        self._session: Any = getattr(request, "session", None)
        self._messages: Any = getattr(request, "_messages", None)
        self._read = False
        self._accessed = ignore_earlier and getattr(self._session, "accessed", False)

    def __enter__(self) -> Self:
        self._cookies = self._request.COOKIES
        self._request.COOKIES = _WatchedCookies(self._cookies, self._note_read)
        self._modified = getattr(self._session, "modified", False)
        if self._modified:
            self._session.modified = False
        if self._accessed:
            self._session.accessed = False
        return self

    def __exit__(self, *_: object) -> None:
        self._request.COOKIES = self._cookies
        self._changed = getattr(self._session, "modified", False)
        self._read = self._read or getattr(self._session, "accessed", False)
        if self._modified:
            self._session.modified = True
        if self._accessed:
            self._session.accessed = True

    def _note_read(self) -> None:
        self._read = True

    def uncacheable_reason(self, is_shared: bool) -> str:
        """Return the reason why the answer is for this visitor alone; empty if it is not."""
        if self._changed:
            return "the view changed the session"
        # Also if there was no message: the template has looked for one.
        if hasattr(self._messages, "_loaded_data") or getattr(self._messages, "added_new", False):
            return "it shows messages outside of {% hole %}, or adds one"
        if getattr(self._request, "_csp_nonce", None):
            # django-csp and Django 6 send the nonce later.
            return "it has a nonce"
        # A user that a middleware loaded before counts too: the view may have used it.
        if is_shared and (self._read or is_authenticated(self._request)):
            return f"it may depend on the visitor, {_VARY_BY}"
        return ""


_VARY_BY = "and vary_by= does not name one"


class _WatchedCookies(dict[str, str]):
    """Cookies that report each read."""

    def __init__(self, cookies: dict[str, str], note_read: Any) -> None:
        super().__init__(cookies)
        self._note_read = note_read

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._note_read()
        return super().__getattribute__(name)

    def __getitem__(self, key: str) -> str:
        self._note_read()
        return super().__getitem__(key)

    def __len__(self) -> int:
        self._note_read()
        return super().__len__()

    def __contains__(self, key: object) -> bool:
        self._note_read()
        return super().__contains__(key)

    def __iter__(self) -> Any:
        self._note_read()
        return super().__iter__()


def uncacheable_reason(response: HttpResponseBase, is_shared: bool) -> str:
    """Return the reason why a response may not be stored; empty if it may."""
    if response.status_code != 200:
        return f"its status is {response.status_code}"
    if response.streaming:
        return "it is streamed"
    if response.cookies:
        return "it sets a cookie"
    if found := _NOT_FOR_OTHERS.search(response.get("Cache-Control", "")):
        return f"its Cache-Control has {(found[1] or found[2]).strip()}"
    for policy in ("Content-Security-Policy", "Content-Security-Policy-Report-Only"):
        if "'nonce-" in response.get(policy, ""):
            return "its Content-Security-Policy has a nonce"
    vary = varies_on(response)
    if "*" in vary:
        return "it varies on everything"
    if is_shared and not vary.isdisjoint(CREDENTIALS):
        return f"it varies on the visitor, {_VARY_BY}"
    return ""
