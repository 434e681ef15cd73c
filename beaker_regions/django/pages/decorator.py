"""Whole pages in a region: with their forms, for each who may see them, never an old one.

    @region_page("functions", vary_by=lists.list_id, tags=["list:{vary_by}"])
    def index(request): ...

A page is stored by scheme, host, path and the parameters that ``params`` names, by language and
time zone, by the header fields that it varies on, by what ``vary_by`` says, and by the release of
templates and static files. Django's middleware is around it as it is around the view. A browser
that goes to the page asks whether the one it has still holds. One that goes *back* shows what it
has without asking, here as anywhere, unless ``max_age`` is None. (Django's ``@never_cache`` around
this decorator says the same at each request anew; within it, it would keep the page out of the
region.)
"""

from __future__ import annotations

import functools
import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Never, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpResponseBase
from django.template import TemplateDoesNotExist
from django.utils.cache import add_never_cache_headers

from beaker_regions.config.options import lifetime, seconds
from beaker_regions.django.manager import region_named
from beaker_regions.django.pages.atomic_requests import call_in_transaction, take_over
from beaker_regions.django.pages.dependencies import Found, fetch, judge
from beaker_regions.django.pages.keys import Fields, PageKey, PageKeys, Visit
from beaker_regions.django.pages.rendering import Rendering, Uncacheable
from beaker_regions.django.pages.responses import Page, sent
from beaker_regions.django.pages.vary_by import asked_by
from beaker_regions.engine.drivers import run, run_async
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.keys import qualified_name
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import ConfigurationError, nearest
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest

    from beaker_regions.django.pages.prefetch import Prefetch
    from beaker_regions.django.pages.vary_by import By
    from beaker_regions.engine.drivers import LoadFlow
    from beaker_regions.engine.region import Region
    from beaker_regions.entries.entry import Entry


logger = logging.getLogger("beaker_regions.django")

View = TypeVar("View", bound="Callable[..., Any]")

OPTIONS = ("tags", "vary_by", "params", "expire", "max_age", "version")
"""What `region_page` takes beside the region."""

HIDDEN = "a CSRF token or a hole is not in it as it is"


def region_page(
    region: Region | str,
    *,
    tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    vary_by: str | By | None = None,
    params: Iterable[str] = (),
    expire: float | None = None,
    max_age: float | None = 0,
    version: int | str = 0,
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
    try:
        asked = asked_by(vary_by)
        life = region.options.expire if expire is None else lifetime(expire)
        age = None if max_age is None else seconds(max_age)
    except ValueError as error:
        raise ConfigurationError(f"region_page: {error}") from error
    policy = Policy(
        life, region.options.grace, region.options.early, lambda value: type(value) is Page
    )
    frozen = tags if callable(tags) else tuple(tags)
    pages = Pages(PageKeys(region, frozen, asked, str(version), params), asked, policy, age)

    def decorate(view: View) -> View:
        name = _name(view)
        region.policies[name] = policy
        if iscoroutinefunction(view):

            async def arespond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                visit = Visit(name, view, request, args, kwargs)
                return pages.marked(await pages.arespond(visit))

            return functools.wraps(view)(arespond)  # type: ignore[return-value]

        def respond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return pages.marked(pages.respond(Visit(name, view, request, args, kwargs)))

        functools.update_wrapper(respond, view)
        take_over(respond)
        return respond  # type: ignore[return-value]

    return decorate


class Pages:
    """The pages of one decorated view."""

    def __init__(
        self, places: PageKeys, by: By | None, policy: Policy, max_age: float | None
    ) -> None:
        self.region = places.region
        self._places = places
        self._by = by
        self._policy = policy
        self._max_age = max_age

    # -- asking ----------------------------------------------------------------------------

    def respond(self, visit: Visit) -> Any:
        if not self._may_be_kept(visit.request):
            return call_in_transaction(visit)[0]
        if tracing.watchers:
            with tracing.call(self.region.name, visit.name):
                return self._response(visit)
        return self._response(visit)

    def _response(self, visit: Visit) -> Any:
        place = self._places.of(visit)
        if place is None:
            return call_in_transaction(visit)[0]
        page = run(self._page(visit, place), partial(self._load, visit, place))
        given = self._given(visit, page)
        return call_in_transaction(visit)[0] if given is MISSING else given

    async def arespond(self, visit: Visit) -> Any:
        if not self._may_be_kept(visit.request):
            return await visit.call()
        if tracing.watchers:
            with tracing.call(self.region.name, visit.name):
                return await self._aresponse(visit)
        return await self._aresponse(visit)

    async def _aresponse(self, visit: Visit) -> Any:
        place = await sync_to_async(self._places.of)(visit)
        if place is None:
            return await visit.call()
        page = await run_async(self._page(visit, place), partial(self._aload, visit, place))
        given = await sync_to_async(self._given)(visit, page)
        return await visit.call() if given is MISSING else given

    def marked(self, response: Any) -> Any:
        """Return the response, with word to browsers if they may not keep it. What is kept has
        that in it, and what a view says itself stays."""
        if self._max_age is not None or not isinstance(response, HttpResponseBase):
            return response
        if "Cache-Control" not in response:
            add_never_cache_headers(response)
        return response

    def _may_be_kept(self, request: HttpRequest) -> bool:
        return self.region.enabled and request.method in ("GET", "HEAD")

    def _given(self, visit: Visit, page: Page | Uncacheable | None) -> Any:
        """Return the response; MISSING where the view has to make it."""
        if page is None:
            return MISSING
        if isinstance(page, Uncacheable):
            return page.given()
        try:
            return sent(visit.request, page)
        except TemplateDoesNotExist:
            return MISSING  # a page of an older release, with a hole that is gone

    def _page(self, visit: Visit, place: PageKey) -> LoadFlow:
        """Return the page, what is the visitor's own, or None for a HEAD of what is not stored.

        Which header fields a page varies on is known only when there is one: the first at an
        address tells, and others lie at addresses that name their values.
        """
        meta = visit.request.META
        fields: Fields = ()
        while True:
            entry = place.entry_of(fields)
            found = yield partial(self._look, place.looked, entry)
            if found.value is MISSING and visit.request.method == "HEAD":
                return None
            page = yield from fetch(self.region, entry, self._policy, found)
            if isinstance(page, Uncacheable) or all(
                meta.get(key) == value for key, value in page.vary
            ):
                place.looked.remember()
                return page
            names = sorted({key for key, _ in (*fields, *page.vary)})
            fields = tuple((key, meta.get(key)) for key in names)

    def _look(self, looked: Prefetch, entry: Entry) -> Found:
        reading = looked.reading(entry) or self.region.look(entry)
        (found,) = judge(self.region, [entry], [reading], self._policy)
        return found

    # -- rendering -------------------------------------------------------------------------

    def _load(self, visit: Visit, place: PageKey) -> Page | Uncacheable:
        with Rendering(visit.request, self._by, nobody=place.nobody) as rendering:
            response, rendering.rolled_back = call_in_transaction(visit)
            rendering.response = _rendered(response)
        outcome = rendering.outcome(self._max_age)
        if outcome is None:
            outcome = Uncacheable(call_in_transaction(visit)[0], why=HIDDEN)
        return self._made(visit, outcome)

    async def _aload(self, visit: Visit, place: PageKey) -> Page | Uncacheable:
        with Rendering(visit.request, self._by, nobody=place.nobody) as rendering:
            rendering.response = await sync_to_async(_rendered)(await visit.call())
        outcome = await sync_to_async(rendering.outcome)(self._max_age)
        if outcome is None:
            outcome = Uncacheable(await visit.call(), why=HIDDEN)
        return self._made(visit, outcome)

    def _made(self, visit: Visit, outcome: Page | Uncacheable) -> Page | Uncacheable:
        if isinstance(outcome, Uncacheable):
            self.region.stats.count("not_kept", visit.name)
            logger.info("%s: the page is not kept: %s", visit.name, outcome.why or outcome.error)
        return outcome


def _name(view: Callable[..., Any]) -> str:
    """Return what tells a view from others; methods and ``as_view()`` are named by their class."""
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
