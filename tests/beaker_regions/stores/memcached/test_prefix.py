"""Two sites in one place: on the same memcached servers, or in the same folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions import ConfigurationError
from tests.beaker_regions.conftest import Calls

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Manager


class Site:
    """A site with functions and values of the same names as every other."""

    def __init__(self, cache: CacheManager) -> None:
        self.cache = cache
        self.calls = calls = Calls()

        @cache.region("functions", tags=["all"])
        def number(argument: int) -> tuple[int, bytes]:
            return calls(), b"x" * argument

        self.number = number
        self.carts = cache.values("functions", "carts")
        self.downloads = cache.counter("functions", "downloads")


@pytest.fixture
def sites(manager: Manager) -> tuple[Site, Site]:
    return Site(manager(prefix="shop")), Site(manager(prefix="blog"))


LARGE = 2_500_000
"""Bytes; memcached takes them in parts."""


def test_sites_of_different_prefixes_share_nothing(sites: tuple[Site, Site]) -> None:
    for site in sites:
        for size in (1, LARGE):
            site.number(size)
    shop, blog = sites
    shop.carts.set("anna", "apples")
    shop.downloads.add(3)
    assert blog.carts.get("anna") is None
    assert blog.downloads.value() == 0
    blog.carts.set("anna", "pears")
    assert shop.carts.get("anna") == "apples"
    blog.downloads.add()
    assert (shop.downloads.value(), blog.downloads.value()) == (3, 1)
    for site in sites:
        for size in (1, LARGE):
            site.number(size)
        assert site.calls.count == 2


@pytest.mark.parametrize(
    "invalidate",
    [
        lambda site: site.number.invalidate(1),
        lambda site: site.number.invalidate_all(),
        lambda site: site.cache.invalidate_tags("all"),
        lambda site: site.cache.invalidate_region("functions"),
    ],
    ids=["call", "function", "tag", "region"],
)
def test_a_site_invalidates_its_own_entries_alone(
    sites: tuple[Site, Site], invalidate: Any
) -> None:
    shop, blog = sites
    assert (shop.number(1), blog.number(1)) == ((1, b"x"), (1, b"x"))
    invalidate(shop)
    assert (shop.number(1), blog.number(1)) == ((2, b"x"), (1, b"x"))


def test_processes_of_one_site_share_its_entries(manager: Manager) -> None:
    one, other = Site(manager(prefix="shop")), Site(manager(prefix="shop"))
    assert (one.number(1), other.number(1)) == ((1, b"x"), (1, b"x"))
    other.number.invalidate(1)
    assert one.number(1) == (2, b"x")


def test_a_hit_of_another_site_is_not_waited_for(memcached_manager: Manager) -> None:
    # With one prefix, or none, and secrets of their own two sites replace each other's records.
    shop = Site(memcached_manager(secret="of the shop", prefix="shop"))
    blog = Site(memcached_manager(secret="of the blog", prefix="blog"))
    for _ in range(3):
        assert (shop.number(1), blog.number(1)) == ((1, b"x"), (1, b"x"))


@pytest.mark.parametrize("wrong", ["", "a b", "shop\n", "ü", "x" * 65, 7, "a@b", "a/b"])
def test_a_prefix_that_cannot_be_in_a_key_is_refused(file_manager: Manager, wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=r"prefix .*letters, digits"):
        file_manager(prefix=wrong)


def test_a_pending_invalidation_of_one_site_is_not_applied_for_another(
    memcached_manager: Manager, tmp_path: Any
) -> None:
    shop = memcached_manager(prefix="shop", data_dir=tmp_path)
    blog = memcached_manager(prefix="blog", data_dir=tmp_path)
    owing = Site(shop)
    assert owing.number(1) == (1, b"x")
    (server,) = shop["functions"].store._servers.values()  # type: ignore[attr-defined]
    server.keep_pending([owing.number.entry(1).scopes[0]])
    assert Site(blog).number(1) == (1, b"x")
    assert owing.number(1) == (2, b"x")
