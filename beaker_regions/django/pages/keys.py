"""Where the pages of a view are kept: by address, by who may see them, and under which scopes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import HttpRequest

from beaker_regions.django.pages.prefetch import LastShown, Prefetch, remembering
from beaker_regions.django.pages.surroundings import surroundings
from beaker_regions.django.pages.vary_by import is_authenticated
from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
    tag_scope,
)
from beaker_regions.entries.keys import encode
from beaker_regions.errors import ConfigurationError, UnkeyableArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beaker_regions.django.pages.vary_by import By
    from beaker_regions.engine.region import Region


class Visit(NamedTuple):
    """One request for a page."""

    name: str
    view: Callable[..., Any]
    request: HttpRequest
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def call(self) -> Any:
        return self.view(self.request, *self.args, **self.kwargs)


Fields = tuple[tuple[str, str | None], ...]
"""Header fields that a page varies on: their keys in META, and their values."""


class PageKey(NamedTuple):
    """Where the page of a visit is kept."""

    entry_of: Callable[[Fields], Entry]
    """From the header fields that tell the page from others to its entry."""
    looked: Prefetch
    nobody: bool
    """Whether it is for everybody, and so must not depend on who asks."""


class PageKeys:
    """The places of the pages of one decorated view."""

    def __init__(
        self,
        region: Region,
        tags: tuple[str, ...] | Callable[..., Iterable[str]],
        by: By | None,
        version: str,
        params: Iterable[str],
    ) -> None:
        self.region = region
        self._tags = tags
        self._by = by
        self._version = version
        self._params = frozenset(params)
        self._shown = remembering()
        # A method is decorated at each call (`django.utils.decorators.method_decorator`).
        self._shared = functools.cache(self._make_shared)

    def of(self, visit: Visit) -> PageKey | None:
        """Return where the page of a visit is kept; None if it is not. Raises
        UnkeyableArgumentError."""
        request, name = visit.request, visit.name
        query = self._query(request)
        if query is None:
            return None
        # Of these only the path may have line breaks, and it is the last.
        parts = (*surroundings(), request.scheme or "", request.get_host(), request.path)
        url = "\n".join(parts)
        looked, by = self._who(request, f"{query}\n{url}")
        if by is None and self._is_somebody(request):
            return None
        try:
            key = encode((url, query, _own_arguments(visit), by))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(
                f"{name}: the value of vary_by=, or an argument from another view, cannot be part "
                f"of a key: {error}"
            ) from error
        identity, *shared = self._shared(name)
        scopes = (*shared, *map(tag_scope, self._tags_of(visit, by)))

        def entry_of(fields: Fields) -> Entry:
            address = address_of(identity, key, encode(fields) if fields else b"")
            return Entry(name, address, (entry_scope(address), *scopes))

        return PageKey(entry_of, looked, by is None)

    def _is_somebody(self, request: HttpRequest) -> bool:
        """Whether a request that ``by`` names nobody for says who asks all the same."""
        if "HTTP_AUTHORIZATION" in request.META:
            return True
        return self._by is not None and is_authenticated(request)

    def _query(self, request: HttpRequest) -> tuple[tuple[str, str], ...] | None:
        """Return the parameters of the query string; None if there are others than those that the
        page is told apart by. What a view makes of them is nobody else's page."""
        text = request.META.get("QUERY_STRING", "")
        if not text:
            return ()
        if text.count("&") >= len(self._params):
            return None
        pairs = tuple([(name, value) for name, values in request.GET.lists() for value in values])
        names = {name for name, _ in pairs}
        return pairs if len(names) == len(pairs) and names <= self._params else None

    def _who(self, request: HttpRequest, url: str) -> tuple[Prefetch, Any]:
        """Return what ``by`` says, and what was looked up ahead with the session that told it."""
        session_key = getattr(getattr(request, "session", None), "session_key", None)
        if self._by is None or session_key is None:
            return Prefetch(self.region, LastShown()), self._by and self._by(request)
        looked = Prefetch(self.region, self._shown(session_key, url))
        with looked.looking():
            return looked, self._by(request)

    def _make_shared(self, name: str) -> tuple[bytes, str, str]:
        """Return what all entries of a view begin with, and the scopes that cover all of them."""
        region = self.region.name
        identity = encode((region, "page", name, self._version))
        return identity, function_scope(region, name), region_scope(region)

    def _tags_of(self, visit: Visit, by: Any) -> Iterable[str]:
        if callable(self._tags):
            return self._tags(visit.request, *visit.args, **visit.kwargs)
        values = {**visit.kwargs, "vary_by": by}
        try:
            return [tag.format_map(values) for tag in self._tags]
        except (LookupError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"{visit.name}: tags={self._tags!r}: {error!r}; valid: {', '.join(sorted(values))}"
            ) from error


def _own_arguments(visit: Visit) -> Any:
    """Return the view's arguments if they are not those that the address gives it."""
    match = visit.request.resolver_match
    if match is not None and match.kwargs == visit.kwargs and tuple(match.args) == visit.args:
        return None
    return (visit.args, visit.kwargs) if visit.args or visit.kwargs else None
