"""The keys of pages: address, ``vary_by`` and header fields; and the scopes that cover a page."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.http import HttpRequest

from beaker_regions.django.pages.prefetch import Prefetch
from beaker_regions.django.pages.surroundings import surroundings
from beaker_regions.django.pages.vary_by import VaryBy, is_authenticated
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.families import scopes_of_tags
from beaker_regions.entries.keys import encode
from beaker_regions.errors import ConfigurationError, UnkeyableArgumentError


class Visit(NamedTuple):
    """One request for a page."""

    name: str
    view: Callable[..., Any]
    request: HttpRequest
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    asked_at: float
    """Seconds since the epoch."""

    def call(self) -> Any:
        return self.view(self.request, *self.args, **self.kwargs)


Fields = tuple[tuple[str, str | None], ...]
"""Header fields that a page varies on: their keys in META, and their values."""


class PageKey(NamedTuple):
    """The key of a visit's page."""

    entry_of: Callable[[Fields], Entry]
    """From the header fields that the page varies on to its entry."""
    prefetch: Prefetch
    is_shared: bool
    """Whether all visitors get the page, so that it must not depend on the visitor."""
    choice: Choice


class Choice(NamedTuple):
    """What ``vary_by`` and ``tags`` have returned for a visit."""

    keys: PageKeys
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    vary_by: bytes
    """A hash of its value."""
    tags: tuple[str, ...]

    def holds_for(self, request: HttpRequest) -> bool:
        """Whether they return the same for another request for the same address. Raises what they
        raise."""
        keys = self.keys
        if keys.vary_by is not None and address_of(encode(keys.vary_by(request))) != self.vary_by:
            return False
        # Tags that are no function depend on the address and the value of ``vary_by`` alone.
        tags = keys.tags(request, *self.args, **self.kwargs) if callable(keys.tags) else self.tags
        return tuple(tags) == self.tags


class PageKeys:
    """The keys of the pages of one decorated view."""

    def __init__(
        self,
        region: Region,
        tags: tuple[str, ...] | Callable[..., Iterable[str]],
        vary_by: VaryBy | None,
        version: str,
        params: Iterable[str],
    ) -> None:
        self.region = region
        self.tags = tags
        self.vary_by = vary_by
        self._version = version
        self._params = frozenset(params)
        # A method is decorated at each call (`django.utils.decorators.method_decorator`).
        self._of_view = functools.cache(self._make_of_view)

    def key_of(self, visit: Visit) -> PageKey | None:
        """Return the key of a visit's page; None if the page is not stored. Raises
        UnkeyableArgumentError."""
        request, name = visit.request, visit.name
        query = self._query(request)
        if query is None:
            return None
        # Only the path may contain line breaks, and it is the last part.
        parts = (*surroundings(), request.scheme or "", request.get_host(), request.path)
        url = "\n".join(parts)
        prefetch, value = self._vary(request, f"{query}\n{url}")
        if value is None and self._has_identity(request):
            return None
        try:
            hashed = address_of(encode(value))
            key = encode((url, query, _arguments_from_code(visit), value))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(
                f"{name}: the value of vary_by=, or an argument from another view, cannot be part "
                f"of a key: {error}"
            ) from error
        identity, *scopes_of_view = self._of_view(name)
        tags = tuple(self._tags_of(visit, value))
        scopes = (*scopes_of_view, *scopes_of_tags(tags))

        def entry_of(fields: Fields) -> Entry:
            address = address_of(identity, key, encode(fields) if fields else b"")
            return Entry(name, address, (entry_scope(address), *scopes))

        choice = Choice(self, visit.args, visit.kwargs, hashed, tags)
        return PageKey(entry_of, prefetch, value is None, choice)

    def _has_identity(self, request: HttpRequest) -> bool:
        """Whether the request names its visitor although ``vary_by`` returned None."""
        if "HTTP_AUTHORIZATION" in request.META:
            return True
        return self.vary_by is not None and is_authenticated(request)

    def _query(self, request: HttpRequest) -> tuple[tuple[str, str], ...] | None:
        """Return the parameters of the query string; None if one of them is not in ``params`` or
        is given twice."""
        text = request.META.get("QUERY_STRING", "")
        if not text:
            return ()
        if text.count("&") >= len(self._params):
            return None
        pairs = tuple([(name, value) for name, values in request.GET.lists() for value in values])
        names = {name for name, _ in pairs}
        return pairs if len(names) == len(pairs) and names <= self._params else None

    def _vary(self, request: HttpRequest, url: str) -> tuple[Prefetch, Any]:
        """Return the value of ``vary_by``, and the lookups made while its session was loaded."""
        session: Any = getattr(request, "session", None)
        session_key = getattr(session, "session_key", None)
        if self.vary_by is None or session_key is None:
            return Prefetch(self.region), self.vary_by and self.vary_by(request)
        prefetch = Prefetch(self.region, (session_key, url))
        session.prefetch = prefetch
        try:
            return prefetch, self.vary_by(request)
        finally:
            session.prefetch = None

    def _make_of_view(self, name: str) -> tuple[bytes, str, str]:
        """Return the start of all keys of a view, and the scopes that cover all its pages."""
        region = self.region.name
        identity = encode((region, "page", name, self._version))
        return identity, function_scope(region, name), region_scope(region)

    def _tags_of(self, visit: Visit, value: Any) -> Iterable[str]:
        if callable(self.tags):
            return self.tags(visit.request, *visit.args, **visit.kwargs)
        values = {**visit.kwargs, "vary_by": value}
        try:
            return [tag.format_map(values) for tag in self.tags]
        except (LookupError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"{visit.name}: tags={self.tags!r}: {error!r}; valid: {', '.join(sorted(values))}"
            ) from error


def _arguments_from_code(visit: Visit) -> Any:
    """Return the view's arguments if they are not those from the URL: another view called it."""
    match = visit.request.resolver_match
    if match is not None and match.kwargs == visit.kwargs and tuple(match.args) == visit.args:
        return None
    return (visit.args, visit.kwargs) if visit.args or visit.kwargs else None
