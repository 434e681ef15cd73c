"""The commands of ``manage.py regions`` for tuning: counts of functions, and predictions."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Error, Warning  # noqa: A004
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.template import engines

from beaker_regions import CacheManager
from beaker_regions.django import region_page
from beaker_regions.django.checks import check_regions
from beaker_regions.reports import health, metrics
from beaker_regions.reports.prometheus import exposition
from beaker_regions.stores.memcached import server_stats
from beaker_regions.telemetry.shared_counters import Name
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.stores.proxies import Proxy
from tests.servers import Memcached


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@pytest.fixture
def cache(shelf: str, tmp_path: Path) -> CacheManager:
    return make_manager(shelf, type="file", data_dir=tmp_path, expire=3600, secret="s")


@pytest.fixture
def books(cache: CacheManager, shelf: str) -> Any:
    def books_of(owner: int, size: Size = Size.SMALL, title: str = "") -> list[str]:
        return [f"{owner} {size.value} {title}"]

    # A unique name, because functions are found by name.
    books_of.__qualname__ = f"books_{shelf}"
    return cache.region(shelf)(books_of)


def regions(*arguments: str) -> str:
    out = io.StringIO()
    call_command("regions", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def as_json(*arguments: str) -> Any:
    return json.loads(regions(*arguments, "--json"))


@pytest.mark.django_db(transaction=True)
def test_functions_are_listed_with_their_counts(books: Any, shelf: str) -> None:
    for owner in (1, 1, 1, 2):
        books(owner)
    (row,) = [line for line in regions().splitlines() if line.startswith(books.name)]
    assert row.split()[:6] == [books.name, shelf, "1", "h", "4", "50.0%"]
    printed = as_json()
    (region,) = [each for each in printed["regions"] if each["region"] == shelf]
    assert (region["entries"], region["calls"], region["hit_ratio"]) == (2, 4, 0.5)
    (function,) = [each for each in printed["functions"] if each["function"] == books.name]
    assert (function["hits"], function["expire"]) == (2, 3600)


def test_show(books: Any, shelf: str) -> None:
    books(1)
    shown = regions("show", f"books_{shelf}")
    assert shown.startswith(f"{books.name}(owner: ")
    assert re.search(r"misses +1", shown)
    assert re.search(r"^load seconds +0\.\d$", shown, re.MULTILINE)
    assert as_json("show", books.name)["misses"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_function_that_never_expires_is_shown_as_such(shelf: str, tmp_path: Path) -> None:
    def endless(owner: int) -> int:
        return owner

    endless.__qualname__ = f"endless_{shelf}"
    cache = make_manager(shelf, type="file", data_dir=tmp_path, secret="s")
    name = cache.region(shelf)(endless).name
    for table, row_of in ((regions(), shelf), (regions(), name), (regions("tune"), name)):
        (row,) = [line for line in table.splitlines() if line.startswith(row_of)]
        assert "never" in row
    assert re.search(r"expire +never", regions("show", name))
    assert as_json("show", name)["expire"] is None


@pytest.mark.django_db(transaction=True)
def test_pages_and_parts_of_templates_have_an_expiry_of_their_own(
    cache: CacheManager, shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    page.__qualname__ = f"page_{shelf}"
    region_page(cache[shelf], expire=120)(page)
    name = f"{page.__module__}.page_{shelf}"
    source = "{% load regions %}{% region shelf expire=180 %}x{% endregion %}"
    with monkeypatch.context() as patched:
        patched.setattr("beaker_regions.django.manager._manager", cache)
        engines["django"].from_string(source).render({"shelf": shelf})
    rows = [line.split(shelf)[-1].split()[:2] for line in regions().splitlines() if shelf in line]
    assert rows[1:] == [["3", "min"], ["2", "min"]]
    assert re.search(r"^expire +2 min$", regions("show", f"page_{shelf}"), re.MULTILINE)
    (row,) = [each for each in as_json("tune") if each["function"] == name]
    assert row["today"] == 120
    with pytest.raises(CommandError, match="is a page or a fragment, not a function"):
        regions("get", f"page_{shelf}")


def test_an_unknown_function_is_named(books: Any, shelf: str) -> None:
    with pytest.raises(CommandError, match=f"did you mean 'books_{shelf}'"):
        regions("show", f"book_{shelf}")
    with pytest.raises(CommandError, match=r"valid: .*books_.*\. This command imports beakercache"):
        regions("show", "zzz")


def test_tune_draws_the_effect_of_each_expiry(books: Any, shelf: str) -> None:
    for _ in range(150):
        books(1)
    drawn = regions("tune", f"books_{shelf}")
    assert "150 calls in " in drawn
    (today,) = [line for line in drawn.splitlines() if "← today" in line]
    assert today.split()[:3] == ["1", "h", "99.3%"]
    printed = as_json("tune", f"books_{shelf}")
    assert printed["points"][-1]["hit_ratio"] == pytest.approx(149 / 150)
    (row,) = [each for each in as_json("tune") if each["function"] == books.name]
    assert row["today"] == 3600


def test_get_and_invalidate_one_call(books: Any, shelf: str) -> None:
    name = f"books_{shelf}"
    assert regions("get", name, "7") == "Nothing is stored\n"
    books(7, Size.LARGE, "a b")
    call = [name, "7", "large", "title=a b"]
    assert regions("get", *call) == "['7 large a b']\n"
    assert as_json("get", *call) == {"stored": True, "value": ["7 large a b"]}
    assert regions("invalidate", *call).startswith(f"Invalidated {books.name}(7, large")
    assert as_json("get", *call) == {"stored": False}
    books(7, Size.LARGE, "a b")
    regions("invalidate", name, "--all")
    assert as_json("get", *call) == {"stored": False}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["get"], "missing a required argument: 'owner'"),
        (["invalidate"], "--all: every call"),
        (["get", "seven"], "owner: seven is not a Python literal"),
        (["get", "7", "huge"], "size: huge is not one of small, large"),
        (["get", "7", "small", "a", "4"], "too many positional arguments"),
        (["get", "{1: object}"], "not a Python literal"),
        (["invalidate", "7", "--all"], "not both"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(
    books: Any, shelf: str, arguments: list[str], said: str
) -> None:
    command, *rest = arguments
    with pytest.raises(CommandError) as refused:
        regions(command, f"books_{shelf}", *rest)
    assert said in str(refused.value)


def test_check_finds_an_unavailable_server(
    shelf: str, memcached: Memcached, own_memcached: Memcached
) -> None:
    urls = f"{memcached.address},{own_memcached.address}"
    cache = make_manager(shelf, type="ext:memcached", url=urls, secret="s")
    assert regions("check", shelf).count("answers in") == 2
    own_memcached.kill()
    out = io.StringIO()
    with pytest.raises(CommandError, match="Something is wrong"):
        call_command("regions", "check", shelf, "--json", stdout=out, stderr=io.StringIO())
    printed = json.loads(out.getvalue())
    away = {each["subject"] for each in printed if each["level"] == "error"}
    assert away == {own_memcached.address}
    assert not [each for each in check_regions() if own_memcached.address in each.msg]
    assert cache.options


@pytest.mark.parametrize(
    ("ask", "up"),
    [
        (lambda _: exposition()[0].decode(), 'regions_memcached_up{{server="{}"}} 1.0'),
        (lambda shelf: regions("check", shelf), "{}: memcached"),
    ],
    ids=["scrape", "check"],
)
def test_hanging_servers_are_asked_simultaneously(
    shelf: str, monkeypatch: pytest.MonkeyPatch, ask: Callable[[str], str], up: str
) -> None:
    # Long, because a busy machine is not an error.
    monkeypatch.setattr(server_stats, "PATIENCE", 10)
    monkeypatch.setattr(health, "PATIENCE", 20)
    servers = [Memcached() for _ in range(3)]
    for server in servers:
        server.start()

    def resume() -> None:
        for server in servers:
            server.resume()

    all_are_asked = threading.Barrier(len(servers), action=resume)

    def hang(request: str) -> None:
        all_are_asked.wait(30)

    proxies = [Proxy(server.port) for server in servers]
    cache = make_manager(
        shelf, type="ext:memcached", url=",".join(each.address for each in proxies), secret="s"
    )
    for server, proxy in zip(servers, proxies, strict=True):
        server.pause()
        proxy.answer = hang
    try:
        printed = ask(shelf)
    finally:
        for server, proxy in zip(servers, proxies, strict=True):
            proxy.close()
            server.kill()
    for proxy in proxies:
        assert up.format(proxy.address) in printed
    assert cache.options


def test_a_bad_region_is_reported_at_start(shelf: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    bad = make_manager(shelf, type="file", data_dir=folder)
    off = make_manager(f"{shelf}x", type="file", data_dir=folder, secret="s", enabled=False)
    folder.rmdir()
    folder.write_text("no folder")
    found = [each for each in check_regions() if shelf in each.msg]
    assert {type(each) for each in found if f"'{shelf}'" in each.msg} == {Error}
    said = "\n".join(each.msg for each in found)
    assert "secret: not set" in said
    assert f"{folder}: cannot be written to" in said
    assert [each for each in found if isinstance(each, Warning) and "the region is off" in each.msg]
    assert bad.options
    assert off.options


def test_prometheus_reads_the_counts_of_all_processes(
    books: Any, shelf: str, memcached: Memcached, own_memcached: Memcached
) -> None:
    for owner in (1, 1, 2):
        books(owner)
    urls = f"{memcached.address},{own_memcached.address}"
    make_manager(f"{shelf}m", type="ext:memcached", url=urls, secret="s")
    own_memcached.kill()
    content, content_type = exposition()
    lines = content.decode().splitlines()
    assert content_type.startswith("text/plain")
    labels = f'by="visitors",function="{books.name}",outcome="%s",region="{shelf}"'
    assert f"regions_calls_total{{{labels % 'hits'}}} 1.0" in lines
    assert f"regions_calls_total{{{labels % 'misses'}}} 2.0" in lines
    assert f'regions_memcached_up{{server="{memcached.address}"}} 1.0' in lines
    assert f'regions_memcached_up{{server="{own_memcached.address}"}} 0.0' in lines
    assert len({line for line in lines if not line.startswith("#")}) == len(
        [line for line in lines if not line.startswith("#")]
    )
    _, open_metrics = exposition("application/openmetrics-text; version=1.0.0")
    assert open_metrics.startswith("application/openmetrics-text")


def test_the_application_counts_in_its_configured_folder(
    books: Any, cache: CacheManager, shelf: str
) -> None:
    books(1)
    assert metrics.all_counts()[Name(shelf, books.name, "misses")] == 1
