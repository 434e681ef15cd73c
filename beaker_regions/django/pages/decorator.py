"""Pages of a view in a region: with their forms, and never stale.

    @region_page("functions", vary_by=lists.list_id, tags=["list:{vary_by}"])
    def index(request): ...

The key of a page consists of scheme, host, path and the parameters in ``params``, language and
time zone, the header fields that the page varies on, the value of ``vary_by``, and the fingerprint
of templates and static files. Django's middleware runs around a stored page as around the view.

A browser that opens the page asks whether its copy is still current. With the Back button it shows
its copy without asking, as with any page, unless ``max_age`` is None. (Django's ``@never_cache``
around this decorator has the same effect; inside it, no page is stored.)
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Never, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.template import TemplateDoesNotExist
from django.utils.cache import add_never_cache_headers

from beaker_regions.config.options import lifetime, seconds
from beaker_regions.django.manager import region_named
from beaker_regions.django.pages.atomic_requests import call_in_transaction, take_over
from beaker_regions.django.pages.dependencies import Found, check, fetch
from beaker_regions.django.pages.keys import Fields, PageKey, PageKeys, Visit
from beaker_regions.django.pages.prefetch import Prefetch
from beaker_regions.django.pages.rendering import PageAbout, Rendering, Uncacheable
from beaker_regions.django.pages.repeats import Served, watch_of
from beaker_regions.django.pages.responses import Page, filling_of, response_from
from beaker_regions.django.pages.vary_by import VaryBy, vary_by_function
from beaker_regions.engine.drivers import LoadFlow, run, run_async
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry
from beaker_regions.entries.freshness import Policy, dependence
from beaker_regions.entries.keys import qualified_name
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import ConfigurationError, nearest
from beaker_regions.telemetry import tracing

logger = logging.getLogger("beaker_regions.django")

View = TypeVar("View", bound="Callable[..., Any]")

OPTIONS = ("tags", "vary_by", "params", "expire", "max_age", "version", "depends_on")
"""The options of `region_page`."""

HIDDEN = "it has a CSRF token or a {% hole %} that was compressed, encoded or put in a header"


def region_page(
    region: Region | str,
    *,
    tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    vary_by: str | VaryBy | None = None,
    params: Iterable[str] = (),
    expire: float | None = None,
    max_age: float | None = 0,
    version: int | str = 0,
    depends_on: str = "tags",
    **unknown: Never,
) -> Callable[[View], View]:
    """Keep the pages of a view in a region.

        @region_page("functions", vary_by="user", params=["page"], tags=["user:{vary_by}"])
        def index(request): ...

    Args:
        region: The region, or the name of one that `use_manager` made known.
        tags: Templates over the URL's arguments and ``{vary_by}``, or a function that takes the
            view's arguments and returns the tags. `invalidate_tags` makes the pages stale.
        vary_by: "user", "session", or a function of the request. Each value that it returns gets
            pages of its own. Where it returns None, as "user" does for a visitor who has not
            logged in, the page is shared, and stored only if the view reads neither the session
            nor a cookie.
        params: The query parameters that the page depends on. A request with another parameter
            is answered by the view and not stored; otherwise each ``?x=random`` would add a page.
        expire: Seconds until a page expires; None: the region's.
        max_age: Seconds for which a browser shows its copy without asking. 0: it asks each time.
            None: it may not keep a copy, not even for its Back button.
        version: Pages that were stored under another version are misses.
        depends_on: "expiry" if a page may be older than the rows in it, until it expires;
            ``manage.py regions dependencies`` then misses no tags. "tags": it may not.

    Returns:
        A decorator for views, synchronous or asynchronous.

    Raises:
        ConfigurationError: There is no such region or option, or an option has a wrong value.
    """
    for option in unknown:
        hint = "write vary_by=" if option == "by" else nearest(option, OPTIONS)
        raise ConfigurationError(f"region_page: {option}: no such option; {hint}")
    for option, value in (("tags", tags), ("params", params)):
        if isinstance(value, str):
            raise ConfigurationError(f"region_page: {option}={value!r} is one string; give a list")
    if isinstance(region, str):
        region = region_named(region)
    if not isinstance(region, Region):
        raise ConfigurationError(
            f"region_page is given {region!r}: write the name of a region, as in "
            f'@region_page("functions")'
        )
    try:
        function = vary_by_function(vary_by)
        life = region.options.expire if expire is None else lifetime(expire)
        age = None if max_age is None else seconds(max_age)
        ends = dependence(depends_on, life)
    except ValueError as error:
        raise ConfigurationError(f"region_page: {error}") from error
    policy = Policy(
        life, region.options.grace, region.options.early, lambda value: type(value) is Page, ends
    )
    frozen = tags if callable(tags) else tuple(tags)
    keys = PageKeys(region, frozen, function, str(version), params)
    pages = Pages(keys, function, policy, age)

    def decorate(view: View) -> View:
        name = _name(view)
        region.policies[name] = policy
        if iscoroutinefunction(view):

            async def arespond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                visit = Visit(name, view, request, args, kwargs, time.time())
                return pages.with_cache_control(await pages.arespond(visit))

            return functools.wraps(view)(arespond)  # type: ignore[return-value]

        def respond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            visit = Visit(name, view, request, args, kwargs, time.time())
            return pages.with_cache_control(pages.respond(visit))

        functools.update_wrapper(respond, view)
        take_over(respond)
        return respond  # type: ignore[return-value]

    return decorate


class Pages:
    """The pages of one decorated view."""

    def __init__(
        self, keys: PageKeys, vary_by: VaryBy | None, policy: Policy, max_age: float | None
    ) -> None:
        self.region = keys.region
        self._keys = keys
        self._vary_by = vary_by
        self._policy = policy
        self._max_age = max_age

    # -- responses -------------------------------------------------------------------------

    def respond(self, visit: Visit) -> Any:
        if not self._may_be_stored(visit.request):
            return call_in_transaction(visit)[0]
        with tracing.call(self.region.name, visit.name):
            return self._response(visit)

    def _response(self, visit: Visit) -> Any:
        key = self._keys.key_of(visit)
        if key is None:
            return call_in_transaction(visit)[0]
        page = run(self._page(visit, key), partial(self._load, visit, key))
        response = self._answer(visit, key, page)
        return call_in_transaction(visit)[0] if response is MISSING else response

    async def arespond(self, visit: Visit) -> Any:
        if not self._may_be_stored(visit.request):
            return await visit.call()
        with tracing.call(self.region.name, visit.name):
            return await self._aresponse(visit)

    async def _aresponse(self, visit: Visit) -> Any:
        key = await sync_to_async(self._keys.key_of)(visit)
        if key is None:
            return await visit.call()
        page = await run_async(self._page(visit, key), partial(self._aload, visit, key))
        response = await sync_to_async(self._answer)(visit, key, page)
        return await visit.call() if response is MISSING else response

    def with_cache_control(self, response: Any) -> Any:
        """Return the response; if ``max_age`` is None, it forbids browsers to keep a copy. A
        Cache-Control of a stored page, or of the view itself, stays."""
        if self._max_age is not None or not isinstance(response, HttpResponseBase):
            return response
        if "Cache-Control" not in response:
            add_never_cache_headers(response)
        return response

    def _may_be_stored(self, request: HttpRequest) -> bool:
        return self.region.enabled and request.method in ("GET", "HEAD")

    def _answer(self, visit: Visit, key: PageKey, page: Page | Uncacheable | None) -> Any:
        """Return the response; MISSING if the view must make it."""
        if page is None:
            return MISSING
        if isinstance(page, Uncacheable):
            return page.answer()
        is_new = getattr(visit.request, "_has_loaded_page", False)
        try:
            filling = filling_of(visit.request, page, visit.asked_at, is_new=is_new)
        except TemplateDoesNotExist:
            return MISSING  # the template of a {% hole %} no longer exists
        response = response_from(visit.request, page, filling)
        if (watch := watch_of(visit.request)) is not None and not is_new:
            about = (self.region, self._policy, visit.name, key.choice)
            watch.serve(Served(*about, page, filling, response.status_code, response.content))
        return response

    def _page(self, visit: Visit, key: PageKey) -> LoadFlow:
        """Return the page, or the answer for this visitor alone; None for a HEAD request whose
        page is not stored.

        The header fields that a page varies on are known only from the page. So the first page of
        a URL is stored without them; for other values of its fields, the fields are part of the
        key.
        """
        meta = visit.request.META
        fields: Fields = ()
        while True:
            entry = key.entry_of(fields)
            found = yield partial(self._look_up, key.prefetch, entry)
            if found.value is MISSING and visit.request.method == "HEAD":
                return None
            page = yield from fetch(self.region, entry, self._policy, found)
            if isinstance(page, Uncacheable) or all(
                meta.get(field) == value for field, value in page.vary
            ):
                key.prefetch.remember()
                return page
            names = sorted({field for field, _ in (*fields, *page.vary)})
            fields = tuple((field, meta.get(field)) for field in names)

    def _look_up(self, prefetch: Prefetch, entry: Entry) -> Found:
        lookup = prefetch.lookup(entry) or self.region.lookup(entry)
        (found,) = check(self.region, [entry], [lookup], self._policy)
        return found

    # -- rendering -------------------------------------------------------------------------

    def _load(self, visit: Visit, key: PageKey) -> Page | Uncacheable:
        about = PageAbout(self.region.name, visit.name, key.choice.tags)
        with Rendering(visit.request, about, self._vary_by, is_shared=key.is_shared) as rendering:
            response, rendering.rolled_back = call_in_transaction(visit)
            rendering.response = _rendered(response)
        outcome = rendering.outcome(self._max_age)
        if outcome is None:
            outcome = Uncacheable(call_in_transaction(visit)[0], reason=HIDDEN)
        return self._counted(visit, key, outcome)

    async def _aload(self, visit: Visit, key: PageKey) -> Page | Uncacheable:
        about = PageAbout(self.region.name, visit.name, key.choice.tags)
        with Rendering(visit.request, about, self._vary_by, is_shared=key.is_shared) as rendering:
            rendering.response = await sync_to_async(_rendered)(await visit.call())
        outcome = await sync_to_async(rendering.outcome)(self._max_age)
        if outcome is None:
            outcome = Uncacheable(await visit.call(), reason=HIDDEN)
        return self._counted(visit, key, outcome)

    def _counted(
        self, visit: Visit, key: PageKey, outcome: Page | Uncacheable
    ) -> Page | Uncacheable:
        self.region.stats.tag_users.learn(visit.name, key.choice.tags)
        visit.request._has_loaded_page = True  # type: ignore[attr-defined]
        if isinstance(outcome, Uncacheable):
            self.region.stats.count("not_kept", visit.name)
            logger.info(
                "%s: the page is not stored: %s", visit.name, outcome.reason or outcome.error
            )
        return outcome


def _name(view: Callable[..., Any]) -> str:
    """Return a view's name; methods and ``as_view()`` are named by their class."""
    inner: Any = inspect.unwrap(view, stop=lambda each: isinstance(each, functools.partial))
    owner = getattr(view, "view_class", None)
    if owner is None and inspect.ismethod(getattr(inner, "func", None)):
        owner = type(inner.func.__self__)
    plain = inspect.unwrap(view)
    if owner is not None:
        return f"{qualified_name(owner)}.{plain.__name__}"
    return qualified_name(plain if hasattr(plain, "__qualname__") else type(plain))


def _rendered(response: Any) -> Any:
    return response.render() if callable(getattr(response, "render", None)) else response
