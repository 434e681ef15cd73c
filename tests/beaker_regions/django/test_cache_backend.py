"""Django's cache API on a region. Django's own tests of it run in `test_upstream`."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import BaseCache, caches
from django.test import override_settings

from beaker_regions import ConfigurationError
from beaker_regions.django.checks import check_regions
from tests.beaker_regions.api.test_counters import memcached_manager  # noqa: F401 a fixture
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Calls, Later
    from tests.servers import Memcached

BACKEND = "beaker_regions.django.cache_backend.RegionCache"


def of(location: str, **options: Any) -> Any:
    return override_settings(
        CACHES={"default": {"BACKEND": BACKEND, "LOCATION": location, **options}}
    )


@pytest.fixture
def api(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseCache]:
    monkeypatch.setattr("beaker_regions.django.manager._manager", cache)
    with of("functions"):
        yield caches["default"]


def test_no_count_is_lost(api: BaseCache) -> None:
    api.set("hits", 0)

    def count() -> None:
        for _ in range(50):
            api.incr("hits", 2)
            api.decr("hits")

    assert statuses([fork(count) for _ in range(8)]) == [0] * 8
    assert api.get("hits") == 8 * 50


def test_no_asynchronous_count_is_lost(api: BaseCache) -> None:
    api.set("hits", 0)

    async def count() -> None:
        await asyncio.gather(*[api.aincr("hits") for _ in range(20)])

    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.get("hits") == 80


def test_counting_keeps_the_expiry(api: BaseCache, later: Later) -> None:
    api.set("hits", 1, timeout=60)
    api.incr("hits")
    later(90)
    with pytest.raises(ValueError, match="'hits' not found"):
        api.incr("hits")


def test_many_are_one_round_trip(memcached: Memcached, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(memcached.port)
    manager = make_manager(type="ext:memcached", url=proxy.address, secret="of the tests")
    monkeypatch.setattr("beaker_regions.django.manager._manager", manager)
    with of("functions"):
        api = caches["default"]
        many = {f"key-{number}": number for number in range(20)}
        assert api.set_many(many) == []
        proxy.requests.clear()
        assert api.get_many([*many, "none"]) == many
        assert len(proxy.requests) == 1
    proxy.close()


def test_clear_removes_only_the_values_of_this_api(
    api: BaseCache, cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    carts = cache.values("functions", "carts")
    carts.set("one", 1)
    load()
    api.set("key", 1)
    api.clear()
    assert api.get("key") is None
    assert (load(), carts.get("one")) == (1, 1)
    cache.invalidate_region("functions")
    assert (load(), carts.get("one")) == (2, None)


def test_an_unavailable_store_behaves_like_an_empty_one(
    own_memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make_manager(
        type="ext:memcached",
        url=own_memcached.address,
        secret="of the tests",
        timeout=0.5,
        retry=0.01,
    )
    monkeypatch.setattr("beaker_regions.django.manager._manager", manager)
    with of("functions"):
        api = caches["default"]
        api.set("old", 1)
        own_memcached.pause()
        api.set("old", 2)
        api.delete("other")
        assert api.get("old", "none") == "none"
        assert api.get_or_set("old", 3) == 3
        assert api.set_many({"a": 1, "b": 2}) == ["a", "b"]
        assert not api.add("c", 1)
        assert not api.touch("old")
        with pytest.raises(ValueError, match="not found"):
            api.incr("old")
        own_memcached.resume()
        until(lambda: api.add("works-again", 1))
        assert api.get("old") is None


@pytest.mark.parametrize(
    ("location", "options", "mend"),
    [
        ("function", {}, "LOCATION 'function': there is no region 'function'; did you mean"),
        ("", {}, "LOCATION '': name a region; there is no region ''; valid: functions"),
        ("functions", {"MAX_ENTRIES": 9}, "no option 'MAX_ENTRIES'.*size_limit"),
    ],
)
def test_options_that_a_region_does_not_have_are_an_error(
    api: BaseCache, location: str, options: dict[str, int], mend: str
) -> None:
    with of(location, OPTIONS=options), pytest.raises(ConfigurationError, match=mend):
        caches["default"].get("key")


def test_a_cache_opened_before_use_manager(
    cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beaker_regions.django.manager._manager", None)
    # Packages do this when their models are imported, before any application is ready.
    with of("functions"):
        opened = caches["default"]
        with pytest.raises(ConfigurationError, match="knows no region 'functions' yet"):
            opened.get("key")
        monkeypatch.setattr("beaker_regions.django.manager._manager", cache)
        opened.set("key", 1)
        assert opened.get("key") == caches["default"].get("key") == 1


def test_a_wrong_name_opened_before_use_manager(
    cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with of("wrong"):
        with monkeypatch.context() as before:
            before.setattr("beaker_regions.django.manager._manager", None)
            opened = caches["default"]
        monkeypatch.setattr("beaker_regions.django.manager._manager", cache)
        assert [each.id for each in check_regions() if "'wrong'" in each.msg] == ["regions.E004"]
        with pytest.raises(ConfigurationError, match="'wrong'"):
            opened.get("key")


def test_a_region_without_values_is_found_by_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = make_manager(type="memory", secret="of the tests")
    monkeypatch.setattr("beaker_regions.django.manager._manager", cache)
    mend = "region 'functions': type = 'memory': .* use a region of type 'file', 'ext:memcached'"
    with of("functions"):
        assert [each.id for each in check_regions() if re.search(mend, each.msg)] == [
            "regions.E004"
        ]
        with pytest.raises(ConfigurationError, match=mend):
            caches["default"]
    with pytest.raises(ConfigurationError, match=mend):
        cache.values("functions", "carts")
    with pytest.raises(ConfigurationError, match=mend):
        cache.counter("functions", "hits")
