"""Answers to requests that are equal to an earlier one.

A browser that opens a page again sends the request that it sent before. If neither its session nor
the page has changed since, the answer is the same, too, but for the page's placeholders. So it is
made of the stored page and of the header fields of the earlier answer, and only the two entries are
looked up: `beaker_regions.django.middleware.RepeatedRequests`.

An answer is repeated only after two equal requests got it, with equal header fields, and if making
it took nothing but the request, the session and the stored page: no cookie was set, no query was
made, no user was loaded, no other entry was looked up, no template of a ``{% hole %}`` was
rendered, and the page was not changed after it was filled. The session must be one of
`beaker_regions.django.sessions`, so that its entry tells whether it has changed.

**Why no read is stale.** The entries of the session and of the page are looked up for each request,
as ever, and they have to be current, and the same as then. ``vary_by`` and ``tags`` may depend on
the time: they are called again in each second, with the request and its session, and have to return
the same. If they need what other middleware adds to the request, the answer is not repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import responses
from typing import Any, NamedTuple, Self

from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from django.core.handlers.wsgi import WSGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse

from beaker_regions.api.function import CachedFunction
from beaker_regions.django.pages.compressed import CompressedPage, gunzipped
from beaker_regions.django.pages.dependencies import check
from beaker_regions.django.pages.keys import Choice
from beaker_regions.django.pages.origin import from_cache
from beaker_regions.django.pages.placeholders import (
    NEEDS_COOKIE,
    RENEWED,
    Filling,
    contents,
    join,
)
from beaker_regions.django.pages.responses import Page
from beaker_regions.django.pages.vary_by import loaded_user
from beaker_regions.django.sessions import SessionStore
from beaker_regions.engine.reads import EntriesRead, noting
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry, Lookup
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.runtime.interruptions import is_interruption

Signature = tuple[tuple[str, str], ...]

_OF_ONE_REQUEST = frozenset(
    (
        "REMOTE_PORT",
        "UNIQUE_ID",
        "HTTP_X_REQUEST_ID",
        "HTTP_X_REQUEST_START",
        "HTTP_X_AMZN_TRACE_ID",
        "HTTP_X_CLOUD_TRACE_CONTEXT",
        "HTTP_CF_RAY",
        "HTTP_TRACEPARENT",
        "HTTP_TRACESTATE",
    )
)
"""Keys of META that name one request or connection. No answer is made of them, but for a header
field that repeats one, and such an answer is not repeated."""
_OF_ONE_ANSWER = ("age", "content-length")
"""Header fields that are made for each answer."""
_OF_TEXT = 60
"""Bytes of memory that a text takes besides its characters."""
_MESSAGES = (CookieStorage, SessionStorage, FallbackStorage)
"""Where the request and its session tell which messages there are."""


def signature_of(meta: Mapping[str, Any]) -> Signature | None:
    """Return what makes an equal request: all of it. None for a request that is never repeated, as
    one under ASGI."""
    scheme = meta.get("wsgi.url_scheme")
    if scheme is None or meta["REQUEST_METHOD"] != "GET":
        return None
    if meta.get("CONTENT_LENGTH") not in (None, "", "0"):
        return None
    return (
        ("", scheme),
        *[
            item
            for item in meta.items()
            if type(item[1]) is str
            and item[0] not in _OF_ONE_REQUEST
            # Other names with a dot are the server's own; that of a header field may have one.
            and ("." not in item[0] or item[0].startswith("HTTP_"))
        ],
    )


class Served(NamedTuple):
    """A stored page that a view has answered with."""

    region: Region
    policy: Policy
    view: str
    choice: Choice
    page: Page
    filling: Filling | None
    status: int
    content: bytes
    """As it was filled; other code may change the response later."""


class Watch:
    """Notes what one request reads, and which stored page answers it."""

    def __init__(self) -> None:
        self.pages: list[Served] = []
        self.reads = EntriesRead()
        self._has_asked = False

    def serve(self, served: Served) -> None:
        """Note a stored page that a view answers with."""
        self.pages.append(served)

    @contextmanager
    def watching(self, request: Any) -> Iterator[Self]:
        before = connections.all(initialized_only=True)
        request._regions_watch = self
        with ExitStack() as stack:
            stack.enter_context(noting(self.reads))
            for connection in before:
                stack.enter_context(connection.execute_wrapper(self._note_query))
            yield self
        if len(connections.all(initialized_only=True)) > len(before):
            self._has_asked = True

    def _note_query(self, execute: Callable[..., Any], *args: Any) -> Any:
        self._has_asked = True
        return execute(*args)

    @property
    def served(self) -> Served | None:
        """The page, if nothing was read but pages and the session."""
        is_alone = len(self.pages) == 1 and self.reads.is_known and not self._has_asked
        return self.pages[0] if is_alone else None


def watch_of(request: HttpRequest) -> Watch | None:
    watch: Watch | None = getattr(request, "_regions_watch", None)
    return watch


class _Session(NamedTuple):
    """A session that a page was chosen by."""

    key: str
    rows: CachedFunction[..., Any]
    entry: Entry
    data: str

    def is_same(self, row: Any, asked_at: float) -> bool:
        """Whether a row that was looked up, or MISSING, still is the session's."""
        return row is not MISSING and row.data == self.data and row.expires_at > asked_at


class Answer(NamedTuple):
    """An answer, as a server sends it."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes

    @property
    def status_line(self) -> str:
        return f"{self.status} {responses[self.status]}"

    def response(self) -> HttpResponse:
        """Return it for the middleware above."""
        response = HttpResponse(self.content, status=self.status)
        response.headers._store = {name.lower(): (name, value) for name, value in self.headers}
        return response


class Repeatable(NamedTuple):
    """An answer that equal requests may get."""

    served: tuple[Region, Policy, str]
    choice: Choice
    entry: Entry
    session: _Session | None
    store: type[Any] | None
    """The class of its session; None if no session was read."""
    page: tuple[float, str]
    """When it was made, and its digest."""
    secret: str
    """That of its CSRF tokens; empty if it has none."""
    status: int
    headers: tuple[tuple[str, str], ...]
    has_length: bool
    is_compressed: bool
    compressed: CompressedPage | None = None
    """Of a confirmed answer that is compressed."""

    @property
    def size(self) -> int:
        """The bytes of memory that it takes, about, beside what each answer takes."""
        texts = [*self.choice.tags, *self.entry.scopes]
        texts += [value for _, value in self.headers]
        if self.session is not None:
            texts.append(self.session.data)
        size = sum([_OF_TEXT + len(text) for text in texts])
        return size + (self.compressed.size if self.compressed else 0)

    def confirmed(self, request: HttpRequest, served: Served) -> Self | None:
        """Return the answer to a request in a form that can be given; None if there is no such
        form, or if the choice of its page takes more than the request and its session."""
        session = None if self.store is None else request.session
        if not self._is_chosen_for(bare(request), session):
            return None
        if not self.is_compressed:
            return self
        page, filling = served.page, served.filling
        compressed = CompressedPage.of(page.pieces if filling is None else filling.pieces())
        return None if compressed is None else self._replace(compressed=compressed)

    def answer(
        self, meta: dict[str, Any], bare: Callable[[], HttpRequest], *, is_chosen: bool
    ) -> Answer | None:
        """Return the answer to an equal request that has just come. None: the other middleware and
        the view must answer. ``meta`` is the request's, and ``bare`` returns it. ``is_chosen``: its
        page was chosen in this second already."""
        asked_at = time.time()
        region, policy, view = self.served
        if not region.enabled:
            return None
        in_session, lookup = self._look_up()
        session, row = self.session, None
        if session is not None:
            row = session.rows.region.value_if_fresh(session.entry, in_session, session.rows.policy)
            if not session.is_same(row, asked_at):
                return None
        if not is_chosen and not self._is_chosen_for(bare(), self._opened(row)):
            return None
        (found,) = check(region, [self.entry], [lookup], policy)
        page = found.value
        if page is MISSING or (page.made_at, page.digest) != self.page:
            return None
        answer = self._answer(meta, page, asked_at)
        if answer is not None:
            if session is not None and in_session is not None:
                session.rows.region.stats.of(session.entry.function).hit(
                    session.entry, in_session, row
                )
            if lookup is not None:
                region.stats.of(view).hit(self.entry, lookup, page)
        return answer

    def _opened(self, row: Any) -> Any:
        """Return the session of a row; None if no session was read."""
        if self.store is None:
            return None
        if self.session is None:
            return self.store(None)
        return self.store.of_row(self.session.key, row)

    def _is_chosen_for(self, bare: HttpRequest, session: Any) -> bool:
        """Whether ``vary_by`` and ``tags`` choose this page for a request that no other middleware
        has seen. They may depend on the clock, too."""
        if session is not None:
            bare.session = session
        try:
            return self.choice.holds_for(bare)
        except Exception as error:
            if is_interruption(error):
                raise
            return False

    def _look_up(self) -> Sequence[Lookup | None]:
        """Look up the session and the page."""
        region, session = self.served[0], self.session
        if session is None:
            return None, region.lookup(self.entry)
        if session.rows.region is region:
            return region.lookup_many([session.entry, self.entry])
        return session.rows.region.lookup(session.entry), region.lookup(self.entry)

    def _answer(self, meta: dict[str, Any], page: Page, asked_at: float) -> Answer | None:
        if self.status != 200:
            return Answer(self.status, [*self.headers], b"")
        if self.secret and random.random() < RENEWED:
            meta[NEEDS_COOKIE] = True  # the browser has to get its cookie again
            return None
        origin = partial(from_cache, page.made_at, page.load_seconds, asked_at, page.details)
        filled = contents(page.pieces, self.secret, origin, dict(page.without_messages))
        content = join(page.pieces, filled)
        if self.compressed is not None:
            content = self.compressed.filled(filled, content)
        headers = [*self.headers, ("Age", str(max(0, int(asked_at - page.made_at))))]
        if self.has_length:
            headers.append(("Content-Length", str(len(content))))
        return Answer(self.status, headers, content)


def repeatable(request: HttpRequest, response: Any, watch: Watch) -> Repeatable | None:
    """Return what an equal request may get instead of a new answer; None: nothing."""
    served = watch.served
    if served is None or not _is_as_served(response, served) or loaded_user(request) is not None:
        return None
    if served.page.without_messages and not isinstance(
        getattr(request, "_messages", None), _MESSAGES
    ):
        return None
    try:
        session = _session_of(request)
    except LookupError:
        return None
    others = {each.entry for each in served.page.dependencies}
    entries = [each for each in watch.reads.entries if each not in others]
    if session is not None:
        entries = [each for each in entries if each != session.entry]
    if not entries or any(each.function != served.view for each in entries):
        return None
    headers = response.headers._store
    names = [name for name in map(request.META.get, _OF_ONE_REQUEST) if name]
    if any(name in value for name in names for _, value in headers.values()):
        return None
    return Repeatable(
        (served.region, served.policy, served.view),
        served.choice,
        entries[-1],
        session,
        _store_of(request),
        (served.page.made_at, served.page.digest),
        served.filling.secret if served.filling is not None else "",
        response.status_code,
        tuple([field for name, field in headers.items() if name not in _OF_ONE_ANSWER]),
        "content-length" in headers,
        _is_gzip(response),
    )


def bare(request: HttpRequest) -> WSGIRequest:
    """Return the request as no middleware has seen it."""
    meta = {**request.META}
    for name in ("PATH_INFO", "SCRIPT_NAME"):
        # Of the server, they have a character for each byte (PEP 3333); Django has decoded them.
        meta[name] = meta[name].encode().decode("iso-8859-1")
    return WSGIRequest(meta)


def _is_as_served(response: Any, served: Served) -> bool:
    """Whether a response is the one that a view gave for its page; it may be compressed since."""
    if response.streaming or response.cookies or response.status_code != served.status:
        return False
    if served.filling is not None and served.filling.has_rendered:
        return False
    content = gunzipped(response.content) if _is_gzip(response) else response.content
    return bool(content == served.content)


def _is_gzip(response: Any) -> bool:
    return bool(response.headers.get("Content-Encoding") == "gzip")


def _store_of(request: Any) -> type[Any] | None:
    session = getattr(request, "session", None)
    return type(session) if getattr(session, "accessed", False) else None


def _session_of(request: HttpRequest) -> _Session | None:
    """Return the request's session, if one was read. Raises LookupError if it is not of a region,
    or does not exist."""
    session: Any = getattr(request, "session", None)
    if not getattr(session, "accessed", False) or session.session_key is None:
        return None  # a visitor without a session has an empty one
    found = session.stored_entry() if isinstance(session, SessionStore) else None
    if found is None:
        raise LookupError
    return _Session(session.session_key, *found)
