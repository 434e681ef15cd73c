"""Beaker's session middleware on every store: in a configured region, and on its own options."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import beaker.cache
import pytest
from beaker.middleware import SessionMiddleware

from beaker_regions import ConfigurationError
from beaker_regions.beaker_api.registry import patch_beaker
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.beaker_regions.visitors import Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.beaker_regions.conftest import Later
    from tests.servers import Memcached

DATA = {"Suomi": "Kimi Räikkönen", "nothing": None, "numbers": [1, 2, 3]}


@pytest.fixture(params=["file", "ext:memcached"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "file":
        return {"type": "file", "data_dir": str(tmp_path)}
    return {"type": "ext:memcached", "url": request.getfixturevalue("memcached").address}


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    """What is installed holds for one test."""
    table = beaker.cache.clsmap._clsmap
    before = dict(table)
    yield
    table.clear()
    table.update(before)


@pytest.fixture(params=["in a region", "installed"])
def where(request: pytest.FixtureRequest, options: dict[str, Any]) -> dict[str, Any]:
    """What a session's configuration says of where it is kept."""
    if request.param == "installed":
        patch_beaker(secret="of the tests", timeout=5)
        return options
    patience = {"timeout": 5} if "url" in options else {}
    make_manager(secret="of the tests", **options, **patience)
    return {"type": "regions", "region": "functions"}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Does what the path says with the visitor's session, and answers with its value."""
    session = environ["beaker.session"]
    match environ["PATH_INFO"]:
        case "/count":
            session["value"] = session.get("value", 0) + 1
            session.save()
        case "/without-saving":
            session["value"] = session.get("value", 0) + 1
        case "/fill":
            session.update(DATA)
            session.save()
        case "/delete":
            session.delete()
        case "/invalidate":
            session.invalidate()
            session.save()
        case "/regenerate":
            session.regenerate_id()
            session.save()
        case "/clear":
            session.clear()
            session.save()
        case "/has":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(session.has_key("value")).encode()]
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-New", str(session.is_new))])
    shown = {key: value for key, value in session.items() if not key.startswith("_")}
    return [f"{session.id}|{shown}".encode()]


def middleware(where: dict[str, Any], **options: Any) -> SessionMiddleware:
    config = {f"session.{option}": value for option, value in (where | options).items()}
    return SessionMiddleware(app, config)


def visitor(where: dict[str, Any], **options: Any) -> Visitor:
    return Visitor(middleware(where, **options))


def id_of(text: str) -> str:
    return text.partition("|")[0]


def data_of(text: str) -> str:
    return text.partition("|")[2]


def test_a_session_lasts_from_request_to_request(where: dict[str, Any]) -> None:
    one, two = visitor(where), visitor(where)
    counted = [data_of(one.get("/count")) for _ in range(3)]
    assert counted == ["{'value': 1}", "{'value': 2}", "{'value': 3}"]
    assert data_of(two.get("/count")) == "{'value': 1}", "another visitor's is another"
    assert data_of(one.get("/without-saving")) == "{'value': 4}"
    assert data_of(one.get("/")) == "{'value': 3}"
    assert one.get("/has") == "True"
    one.get("/fill")
    assert data_of(one.get("/")) == str({"value": 3} | DATA)


@pytest.mark.parametrize("end", ["/clear", "/delete", "/invalidate"])
def test_an_ended_session_has_no_data(where: dict[str, Any], end: str) -> None:
    client = visitor(where)
    client.get("/count")
    client.get(end)
    assert client.get("/has") == "False"
    assert data_of(client.get("/count")) == "{'value': 1}"


def test_a_new_id_keeps_the_data(where: dict[str, Any]) -> None:
    client = visitor(where)
    before = client.get("/count")
    client.get("/regenerate")
    after = client.get("/")
    assert data_of(before) == data_of(after) == "{'value': 1}"
    assert id_of(before) != id_of(after)


@pytest.mark.parametrize(
    "unknown", ["df7324911e246b70b5781c3c58328442", "../../etc/passwd", '"a b"', "a" * 3000]
)
def test_an_id_that_is_not_known_begins_second(where: dict[str, Any], unknown: str) -> None:
    client = visitor(where)
    client.cookies["beaker.session.id"] = unknown
    assert data_of(client.get("/")) == "{}"
    assert client.headers["X-New"] == "True"
    assert [data_of(client.get("/count")) for _ in range(2)] == ["{'value': 1}", "{'value': 2}"]
    assert client.headers["X-New"] == "False"


def test_a_session_ends_after_its_timeout(where: dict[str, Any], later: Later) -> None:
    client = visitor(where, timeout=60)
    first = client.get("/count")
    assert client.get("/") == first
    later(61)
    second = client.get("/count")
    assert data_of(second) == "{'value': 1}"
    assert id_of(second) != id_of(first)


def test_the_store_keeps_a_session_little_longer_than_its_timeout(where: dict[str, Any]) -> None:
    session = middleware(where, timeout=60)._get_session()
    session.save()
    namespace = session.namespace
    assert namespace.timeout == 60 + 120
    assert namespace.region.lookup(namespace.entry("session")).record.expire == 60 + 120


def test_without_a_timeout_the_region_says_how_long_a_session_is_kept(tmp_path: Path) -> None:
    make_manager(type="file", data_dir=tmp_path / "one", expire=60, secret="of the tests")
    patch_beaker(secret="of the tests", data_dir=tmp_path / "two", expire=90)
    named = middleware({"type": "regions", "region": "functions"})._get_session()
    installed = middleware({"type": "file"})._get_session()
    for session, seconds in ((named, 60), (installed, 90)):
        session.save()
        namespace = session.namespace
        assert namespace.region.lookup(namespace.entry("session")).record.expire == seconds


@pytest.mark.parametrize(
    ("cookie_expires", "days"), [(True, None), (300, 0), (False, 3650)], ids=str
)
def test_when_the_browser_forgets(
    where: dict[str, Any], cookie_expires: object, days: int | None
) -> None:
    client = visitor(where, cookie_expires=cookie_expires)
    client.get("/count")
    expires = re.search(r"expires=([^;]+)", client.headers["Set-cookie"])
    if days is None:
        assert expires is None
    else:
        assert expires is not None
        left = parsedate_to_datetime(expires[1]) - datetime.now(UTC)
        assert left.total_seconds() > 0
        assert left.days >= days
    assert data_of(client.get("/count")) == "{'value': 2}"


def test_a_signed_cookie(where: dict[str, Any]) -> None:
    client, thief = (visitor(where, secret="of the cookies") for _ in range(2))
    counted = [data_of(client.get("/count")) for _ in range(2)]
    assert counted == ["{'value': 1}", "{'value': 2}"]
    thief.cookies["beaker.session.id"] = id_of(client.get("/"))
    assert data_of(thief.get("/")) == "{}", "an id that was not signed is none"


def test_a_request_costs_one_lookup_and_one_save(memcached: Memcached) -> None:
    proxy = Proxy(memcached.port)
    make_manager(type="ext:memcached", url=proxy.address, secret="of the tests", timeout=5)
    client = visitor({"type": "regions", "region": "functions"})
    client.get("/count")
    proxy.requests.clear()
    assert data_of(client.get("/count")) == "{'value': 2}"
    # A lookup; and to save, what is current and the item.
    assert [request.partition(" ")[0] for request in proxy.requests] == ["get", "get", "set"]
    proxy.close()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"lease": 5}, "lease = 5: this is an option of the region"),
        ({"early": 1}, "early"),
        ({"enabled": "false"}, "enabled"),
        ({"expire": "soon"}, "expire = 'soon'.*seconds"),
        ({"grace": -1}, "grace"),
        ({"exipre": 60}, "exipre"),
        ({"region": "functoins"}, "functoins"),
    ],
    ids=str,
)
def test_options_that_a_session_cannot_have_are_refused_at_start(
    tmp_path: Path, given: dict[str, Any], hint: str
) -> None:
    make_manager(type="file", data_dir=tmp_path, secret="of the tests")
    with pytest.raises(ConfigurationError, match=hint):
        middleware({"type": "regions", "region": "functions", **given})


def test_a_mistyped_option_of_an_installed_type_is_refused_at_start(tmp_path: Path) -> None:
    patch_beaker(secret="of the tests")
    with pytest.raises(ConfigurationError, match="size_limit"):
        middleware({"type": "file", "data_dir": str(tmp_path), "size_limt": 5})
    SessionMiddleware(app, {"session.type": "memory", "session.size_limt": 5})


def test_options_that_a_session_has_of_its_own_hold(tmp_path: Path) -> None:
    make_manager(type="file", data_dir=tmp_path, expire=60, secret="of the tests")
    own = {"type": "regions", "region": "functions", "expire": 30, "enabled": True, "grace": "5"}
    session = middleware(own)._get_session()
    session.save()
    record = session.namespace.region.lookup(session.namespace.entry("session")).record
    assert (record.expire, session.namespace._grace) == (30, 5)


def test_a_locked_session_is_one_requests_at_a_time(where: dict[str, Any]) -> None:
    """Each of two requests at once counts once, in whatever process they are."""
    made = middleware(where)
    first = made._get_session()
    first["value"] = 0
    first.save()

    def request() -> None:
        session = made._get_session()
        session.id = first.id
        session.load()
        session.lock()
        try:
            session.load()
            value = session["value"]
            time.sleep(0.02)
            session["value"] = value + 1
            session.save()
        finally:
            session.unlock()

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    first.load()
    assert first["value"] == 8


def test_a_lock_of_a_process_that_was_killed_ends(where: dict[str, Any]) -> None:
    where = where if "region" in where else where | {"lease": 1}
    if "region" in where:
        beaker.cache.cache_regions["functions"]["region"].lease = 1.0
    made = middleware(where)
    session = made._get_session()
    session["value"] = 1
    session.save()
    child = os.fork()
    if child == 0:
        session.lock()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    session.lock()
    session.unlock()
    assert time.monotonic() - began < 30


def test_a_session_of_a_server_that_is_gone_begins_second(own_memcached: Memcached) -> None:
    make_manager(type="ext:memcached", url=own_memcached.address, secret="of the tests")
    client = visitor({"type": "regions", "region": "functions"})
    client.get("/count")
    own_memcached.kill()
    assert data_of(client.get("/count")) == "{'value': 1}"
