"""The rendering of a page for the store, and what must not go there."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, HttpResponseBase

from beaker_regions.django.pages.dependencies import recording
from beaker_regions.django.pages.placeholders import Filling, OpenPlaceholders
from beaker_regions.django.pages.responses import CREDENTIALS, Page, kept, varies_on
from beaker_regions.django.pages.vary_by import is_authenticated, known_user, refusal

if TYPE_CHECKING:
    from django.http import HttpRequest

_NOT_FOR_OTHERS = re.compile(
    r"(?:^|,)\s*(?:(private|no-store|no-cache)\b|((?:s-maxage|max-age)\s*=\s*\"?0+\"?\s*(?:,|$)))",
    re.IGNORECASE,
)

ANSWERS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)
"""Exceptions that are a view's answer to its visitor, and no failure."""


class Uncacheable(NamedTuple):
    """What a view answered to one visitor, and is for no other."""

    response: Any = None
    error: Exception | None = None
    why: str = ""
    """What keeps it from being stored."""

    def given(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.response


class Rendering:
    """While in this block a view answers for the store.

    ``by`` is what tells visitors apart, ``nobody`` whether that has named none of them.
    """

    def __init__(self, request: HttpRequest, by: object = None, *, nobody: bool = True) -> None:
        self._request = request
        self._by = by
        self._nobody = nobody
        self._user = None if nobody else known_user(request)
        self.response: Any = None
        self.error: Exception | None = None
        self.rolled_back = False
        """Whether the transaction that the view answered in was rolled back."""
        self._blocks = ExitStack()
        self.opened = OpenPlaceholders(request)
        # What `by` has asked for is no sign of what the view did.
        self.watch = Watch(request, alone=by is not None)

    def __enter__(self) -> Self:
        self._blocks.enter_context(self.opened)
        self._blocks.enter_context(self.watch)
        self.recorder = self._blocks.enter_context(recording())
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> bool:
        self._blocks.close()
        if isinstance(error, ANSWERS):
            self.error = error
            return True
        return False

    def outcome(self, max_age: float | None) -> Page | Uncacheable | None:
        """Return what is to be stored, or to be handed to this visitor alone and why; None if its
        holes are out of reach, and the view is to answer without any."""
        response, opened = self.response, self.opened
        if self.error is not None:
            return Uncacheable(error=self.error)
        if not isinstance(response, HttpResponseBase):
            return Uncacheable(response)  # Django says what is wrong with that
        pieces = opened.pieces(response.content if isinstance(response, HttpResponse) else b"")
        if opened.is_hidden(pieces, response.headers.values()):
            return None
        why = why_not_stored(response, self._nobody) or self.watch.why_not_stored(self._nobody)
        if not self._nobody:
            why = why or refusal(self._request, self._user)
        if self.rolled_back:
            why = why or "its transaction was rolled back"
        if opened.rotated:
            why = why or "the view changed the CSRF secret"
        if self.recorder.unknown:
            why = why or "it has a fragment whose state is not known for now"
        if not why and isinstance(response, HttpResponse):
            return kept(self._request, response, pieces, self.recorder.needs, self._by, max_age)
        if pieces.holes and isinstance(response, HttpResponse):
            response.content = Filling(self._request, pieces, response.charset).content()
        return Uncacheable(response, why=why)


class Watch:
    """While in this block, notes what a view asks of its visitor, and does to them; ``alone``:
    not what has been asked before."""

    def __init__(self, request: HttpRequest, *, alone: bool) -> None:
        self._request = request
        self._session: Any = getattr(request, "session", None)
        self._messages: Any = getattr(request, "_messages", None)
        self._read = False
        self._accessed = alone and getattr(self._session, "accessed", False)

    def __enter__(self) -> Self:
        self._cookies = self._request.COOKIES
        self._request.COOKIES = _Noticing(self._cookies, self._notice)
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

    def _notice(self) -> None:
        self._read = True

    def why_not_stored(self, nobody: bool) -> str:
        """Return why what came out is for this visitor alone; empty if it is not."""
        if self._changed:
            return "the view changed the session"
        # A template that finds no message has not used any, but looked.
        if hasattr(self._messages, "_loaded_data") or getattr(self._messages, "added_new", False):
            return "it has messages outside of a hole, or makes some"
        if getattr(self._request, "_csp_nonce", None):
            # django-csp and Django 6 send it afterwards.
            return "it has a nonce"
        # A middleware that asked the session before may have told the view.
        if nobody and (self._read or is_authenticated(self._request)):
            return "it may depend on the visitor, and vary_by= does not name one"
        return ""


class _Noticing(dict[str, str]):
    """Cookies that notice when they are looked at."""

    def __init__(self, cookies: dict[str, str], notice: Any) -> None:
        super().__init__(cookies)
        self._notice = notice

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._notice()
        return super().__getattribute__(name)

    def __getitem__(self, key: str) -> str:
        self._notice()
        return super().__getitem__(key)

    def __len__(self) -> int:
        self._notice()
        return super().__len__()

    def __contains__(self, key: object) -> bool:
        self._notice()
        return super().__contains__(key)

    def __iter__(self) -> Any:
        self._notice()
        return super().__iter__()


def why_not_stored(response: HttpResponseBase, nobody: bool) -> str:
    """Return why a response may not be kept for others, or for everybody where ``by`` has named
    nobody; empty if it may."""
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
    if nobody and not vary.isdisjoint(CREDENTIALS):
        return "it varies on the visitor, and vary_by= does not name one"
    return ""
