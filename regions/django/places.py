"""Where the pages of a view are kept: by address, by who may see them, and under which scopes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone, translation

from regions.django.ahead import Ahead, Shown, remembering
from regions.django.release import release
from regions.errors import ConfigurationError, UnkeyableArgument
from regions.keys import encode
from regions.store import Entry, address_of, entry_scope, function_scope, region_scope, tag_scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from regions.django.visitors import By
    from regions.region import Region


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


class Place(NamedTuple):
    """Where the page of a visit is kept."""

    entry_of: Callable[[Fields], Entry]
    """From the header fields that tell the page from others to its entry."""
    looked: Ahead


class Places:
    """The places of the pages of one decorated view."""

    def __init__(
        self,
        region: Region,
        tags: tuple[str, ...] | Callable[..., Iterable[str]],
        by: By | None,
        version: str,
    ) -> None:
        self.region = region
        self._tags = tags
        self._by = by
        self._version = version
        self._shown = remembering()
        # A method is decorated at each call (`django.utils.decorators.method_decorator`).
        self._shared = functools.cache(self._make_shared)

    def of(self, visit: Visit) -> Place:
        """Return where the page of a visit is kept. Raises UnkeyableArgument."""
        request, name = visit.request, visit.name
        # Of these only the path may have line breaks, and it is the last.
        url = "\n".join(
            (
                release(),
                request.scheme or "",
                request.get_host(),
                request.META.get("QUERY_STRING", ""),
                (translation.get_language() or "") if settings.USE_I18N else "",
                timezone.get_current_timezone_name() if settings.USE_TZ else "",
                request.path,
            )
        )
        looked, by = self._who(request, url)
        try:
            key = encode((url, by))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgument(
                f"{name}: what by= gives cannot be part of a key: {error}"
            ) from error
        identity, *shared = self._shared(name)
        scopes = (*shared, *map(tag_scope, self._tags_of(visit, by)))

        def entry_of(fields: Fields) -> Entry:
            address = address_of(identity, key, encode(fields) if fields else b"")
            return Entry(name, address, (entry_scope(address), *scopes))

        return Place(entry_of, looked)

    def _who(self, request: HttpRequest, url: str) -> tuple[Ahead, Any]:
        """Return what ``by`` says, and what was looked up ahead with the session that told it."""
        session_key = getattr(getattr(request, "session", None), "session_key", None)
        if self._by is None or session_key is None:
            return Ahead(self.region, Shown()), self._by and self._by(request)
        looked = Ahead(self.region, self._shown(session_key, url))
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
        values = {**visit.kwargs, "by": by}
        try:
            return [tag.format_map(values) for tag in self._tags]
        except (LookupError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"{visit.name}: tags={self._tags!r}: {error!r}; valid: {', '.join(sorted(values))}"
            ) from error
