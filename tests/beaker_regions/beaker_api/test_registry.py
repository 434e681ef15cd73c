"""The ways into Beaker's own front: which of them lead to this library's engine, and which not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import beaker.cache
import beaker.container
import beaker.util
import pytest
from beaker.cache import Cache, cache_region, region_invalidate
from beaker.ext.memcached import MemcachedNamespaceManager
from beaker.middleware import CacheMiddleware, SessionMiddleware

from beaker_regions import CacheManager, ConfigurationError, parse_cache_config_options
from beaker_regions.beaker_api.namespace import RegionNamespace
from beaker_regions.beaker_api.registry import patch_beaker
from tests.beaker_regions.conftest import Calls, Manager, make_manager
from tests.beaker_regions.visitors import Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Memcached


@pytest.fixture(params=["file", "ext:memcached"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What a user of Beaker says of a cache, of each of the two types."""
    if request.param == "file":
        return {"type": "file", "data_dir": str(tmp_path)}
    memcached: Memcached = request.getfixturevalue("memcached")
    return {"type": "ext:memcached", "url": memcached.address, "lock_dir": str(tmp_path)}


@pytest.fixture
def manager(options: dict[str, Any]) -> Manager:
    """Make managers of one region. A busy machine is no fault of a server."""
    patience = {"timeout": 5} if "url" in options else {}
    return lambda **own: make_manager(secret="of the tests", **options, **patience, **own)


@pytest.fixture
def installed() -> Iterator[None]:
    """Beaker's own types mean ours, until the test is over."""
    table = beaker.cache.clsmap._clsmap
    before = dict(table)
    patch_beaker(secret="of the tests", timeout=5)
    yield
    table.clear()
    table.update(before)


def anonymous_region(**shared: Any) -> CacheManager:
    config = {f"cache.{option}": value for option, value in shared.items()}
    return CacheManager(**parse_cache_config_options({"cache.secret": "of the tests", **config}))


def test_a_cache_of_the_manager_by_name(options: dict[str, Any], calls: Calls) -> None:
    cache = anonymous_region().get_cache("numbers", expire=60, **options)
    assert isinstance(cache.namespace, RegionNamespace)
    assert (cache.get("one", createfunc=calls), cache["one"]) == (1, 1)
    assert anonymous_region(**options).get_cache("numbers")["one"] == 1, (
        "shared options serve as well"
    )
    assert "one" not in anonymous_region(**options).get_cache("others")
    cache.clear()
    assert "one" not in cache


def test_the_result_of_beakers_own_parser_is_accepted(
    options: dict[str, Any], calls: Calls
) -> None:
    config = {f"cache.{option}": value for option, value in options.items()}
    config |= {"cache.regions": "short", "cache.short.expire": "60"}
    if "url" in options:
        config["cache.short.url"] = options["url"]
    parsed = beaker.util.parse_cache_config_options(config)
    CacheManager(**parsed)
    manager = CacheManager(**parsed)
    assert isinstance(manager.get_cache("numbers").namespace, RegionNamespace)
    assert manager.options["short"].expire == 60


@pytest.mark.parametrize("type_", ["memory", "dbm"])
def test_every_other_type_is_beakers_own(type_: str, tmp_path: Path, calls: Calls) -> None:
    cache = anonymous_region(type=type_, data_dir=str(tmp_path)).get_cache("numbers")
    assert isinstance(cache.namespace, beaker.container.NamespaceManager)
    assert not isinstance(cache.namespace, RegionNamespace)
    assert (cache.get("one", createfunc=calls), cache["one"]) == (1, 1)
    cache.clear()


def test_a_mistyped_option_of_a_cache_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'expire'"):
        anonymous_region(**options).get_cache("numbers", exipre=60)
    with pytest.raises(ConfigurationError, match="no such option: 'graze'"):
        Cache("numbers", type="regions", region="functions", graze=60)
    with pytest.raises(ConfigurationError, match="no region 'functoins'"):
        Cache("numbers", type="regions", region="functoins")
    with pytest.raises(ConfigurationError, match="no such option: secrets"):
        patch_beaker(secrets="of the tests")


def test_a_function_of_no_region(options: dict[str, Any], calls: Calls) -> None:
    cache = anonymous_region(**options)

    @cache.cache("by name", expire=60)
    def load(*words: str) -> int:
        return calls()

    assert (load("a b", "c"), load("a", "b c"), load("a b", "c")) == (1, 2, 1)
    cache.invalidate(load, "by name", "a b", "c", type=options["type"])
    assert (load("a b", "c"), load("a", "b c")) == (3, 2)
    load.invalidate_all()
    assert load("a", "b c") == 4


def test_beakers_own_decorator_uses_our_regions(manager: Manager, calls: Calls) -> None:
    cache = manager()

    @cache_region("functions", "by name")  # type: ignore[untyped-decorator]
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2), load(1)) == (1, 2, 1)
    assert cache["functions"].stats["hits"] > 0
    region_invalidate(load, "functions", "by name", 1)
    assert (load(1), load(2)) == (3, 2)
    cache.region_invalidate(load, None, "by name", 2)
    assert (load(1), load(2)) == (3, 4)
    cache.invalidate_region("functions")
    assert (load(1), load(2)) == (5, 6)


def test_a_region_that_is_turned_off_is_so_for_beakers_decorator(
    manager: Manager, calls: Calls
) -> None:
    manager(enabled=False)

    @cache_region("functions")  # type: ignore[untyped-decorator]
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 2)


def test_beakers_own_invalidation_reaches_our_decorated_functions(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    @cache.region("functions")
    def other() -> int:
        return calls()

    assert (load(1), load(2), other()) == (1, 2, 3)
    region_invalidate(load, "functions", 1)
    assert (load(1), other()) == (4, 3)


@pytest.mark.parametrize(("expire", "seconds"), [(0.5, 1), (60, 60), (None, None)])
def test_beakers_front_gets_whole_seconds(
    manager: Manager, expire: float | None, seconds: int | None
) -> None:
    cache = manager(expire=expire)
    assert cache.get_cache_region("numbers", "functions").expiretime == seconds
    assert cache.options["functions"].expire == (math.inf if expire is None else expire)


def test_without_patch_beaker_stock_beaker_is_unchanged(
    memcached: Memcached, tmp_path: Path
) -> None:
    anonymous_region(type="file", data_dir=str(tmp_path))
    stock = Cache("numbers", type="ext:memcached", url=memcached.address)
    assert type(stock.namespace) is MemcachedNamespaceManager
    stock = Cache("numbers", type="file", data_dir=str(tmp_path))
    assert type(stock.namespace) is beaker.container.FileNamespaceManager


@pytest.mark.usefixtures("installed")
def test_installed_the_types_of_stock_beaker_are_ours(
    options: dict[str, Any], calls: Calls
) -> None:
    one, two = Cache("one", expire=60, **options), Cache("two", **options)
    assert isinstance(one.namespace, RegionNamespace)
    assert (one.get("a", createfunc=calls), two.get("a", createfunc=calls)) == (1, 2)
    assert anonymous_region(**options).get_cache("one")["a"] == 1, "the manager's are the same"
    one.clear()
    assert ("a" in one, two["a"]) == (False, 2)
    with pytest.raises(ConfigurationError, match="did you mean 'grace'"):
        Cache("one", graze=60, **options)


@pytest.mark.usefixtures("installed")
def test_beakers_cache_middleware(options: dict[str, Any]) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        cache = environ["beaker.cache"].get_cache("numbers", **options)
        if environ["PATH_INFO"] == "/clear":
            cache.clear()
        try:
            value = cache.get_value("value")
        except KeyError:
            value = 0
        cache.set_value("value", None if environ["PATH_INFO"] == "/none" else value + 1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(cache.get_value("value")).encode()]

    visitor = Visitor(CacheMiddleware(app))
    paths = ["/", "/", "/clear", "/", "/none"]
    assert [visitor.get(path) for path in paths] == ["1", "2", "1", "2", "None"]


def hello(environ: Any, start_response: Any) -> list[bytes]:
    session = environ["beaker.session"]
    session["count"] = session.get("count", 0) + 1
    session.save()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(session["count"]).encode()]


def ask(application: Any) -> list[bytes]:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "example.org"}
    return list(application(environ, lambda *_: None))


@pytest.mark.filterwarnings("ignore:Session options should start")
@pytest.mark.parametrize("prefix", ["session.", "session_", "beaker.session."])
def test_a_session_middleware_with_keyword_options(
    installed: None, options: dict[str, Any], prefix: str
) -> None:
    given = {f"{prefix}{option}": value for option, value in options.items()}
    assert ask(SessionMiddleware(hello, **given)) == [b"1"]


def test_a_session_middleware_with_a_region_by_keyword(manager: Manager) -> None:
    manager()
    given = {"session.type": "regions", "session.region": "functions"}
    assert ask(SessionMiddleware(hello, **given)) == [b"1"]


def test_a_cache_middleware_with_keyword_options(
    installed: None, options: dict[str, Any], calls: Calls
) -> None:
    given = {f"cache.{option}": value for option, value in options.items()}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        cache = environ["beaker.cache"].get_cache("numbers")
        start_response("200 OK", [])
        return [str(cache.get("one", createfunc=calls)).encode()]

    for _ in range(2):
        assert ask(CacheMiddleware(application, **given)) == [b"1"]


@pytest.mark.filterwarnings("ignore:Specifying a 'type'")
@pytest.mark.parametrize("is_installed", [True, False])
def test_a_cache_whose_call_names_another_type(
    request: pytest.FixtureRequest, memcached: Memcached, tmp_path: Path, is_installed: bool
) -> None:
    """As Beaker's old interface has it."""
    cache: Any
    if is_installed:
        request.getfixturevalue("installed")
        own: Any = {"type": "ext:memcached", "url": memcached.address, "data_dir": str(tmp_path)}
        cache = Cache("legacy", **own)
    else:
        cache = anonymous_region(data_dir=tmp_path).get_cache(
            "legacy", type="ext:memcached", url=memcached.address
        )
    for type_ in ("file", "memory"):
        cache.set_value("one", type_, type=type_)
        assert cache.get("one", type=type_) == type_
    assert "one" not in cache
    cache.remove_value("one", type="file")
    assert cache.get("one", type="file", createfunc=lambda: "new") == "new"
