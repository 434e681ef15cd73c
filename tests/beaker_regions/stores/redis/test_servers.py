"""Servers of Redis: how they are reached, what they say of themselves, and when they fail."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.reports import health
from tests.beaker_regions.conftest import Calls, Manager, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beaker_regions import CacheManager
    from tests.servers import Redis

    Start = Callable[..., Redis]


def loader(cache: CacheManager, calls: Calls) -> Any:
    @cache.region("functions")
    def load() -> int:
        return calls()

    return load


def manager_of(url: str, **options: object) -> CacheManager:
    own = {"type": "ext:valkey", "secret": "of the tests", "timeout": 5, "retry": 0.01}
    return make_manager(**{**own, "url": url, **options})


def test_a_user_a_password_and_a_database(start: Start, calls: Calls) -> None:
    server = start("--requirepass", "a@b", "--user", "me", "on", ">secret", "~brg1:*", "+@all")
    url = f"me:secret@{server.address}/3"
    load = loader(manager_of(f"redis://{url}"), calls)
    assert (load(), load()) == (1, 1)
    assert loader(manager_of(f"redis://:a%40b@{server.address}/3"), calls)() == 1
    assert loader(manager_of(f"redis://{server.address}/3", password="a@b"), calls)() == 1
    assert loader(manager_of(f"redis://:a%40b@{server.address}"), calls)() == 2
    refused = manager_of(f"redis://me:wrong@{server.address}/3")
    assert loader(refused, calls)() == 3
    assert refused["functions"].stats["failed.server"] > 0


def test_a_socket_of_the_host(start: Start, tmp_path: Path, calls: Calls) -> None:
    start("--unixsocket", str(tmp_path / "socket"))
    load = loader(manager_of(f"unix://{tmp_path}/socket?db=1"), calls)
    assert (load(), load()) == (1, 1)
    load.invalidate()
    assert (load(), load()) == (2, 2)


def test_tls_with_an_authority_of_its_own(start: Start, tmp_path: Path, calls: Calls) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*make, "-nodes", *subject, *files], check=True, stderr=subprocess.DEVNULL)
    server = start(
        *("--tls-port", "PORT", "--port", "0", "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(tmp_path / "certificate")),
        *("--tls-key-file", str(tmp_path / "key")),
    )
    url = f"rediss://localhost:{server.port}"
    load = loader(manager_of(url, ca_file=tmp_path / "certificate"), calls)
    assert (load(), load()) == (1, 1)
    unknown = manager_of(url)
    assert loader(unknown, calls)() == 2, "who signed it is not known here"
    assert unknown["functions"].stats["failed.server"] > 0


def test_an_invalidation_of_many_tags_is_one_message(
    redis: Redis, redis_manager: Manager, calls: Calls
) -> None:
    cache = redis_manager()

    @cache.region("functions", tags=["a", "b"])
    def load() -> int:
        return calls()

    load()
    before = int(redis.info("total_commands_processed"))
    cache.invalidate_tags("a", "b")
    questions = 3  # of the first `info` after the number, and of the second one
    assert int(redis.info("total_commands_processed")) - before - questions == 1


def test_a_value_of_any_size_lies_in_one_key(
    redis: Redis, redis_manager: Manager, calls: Calls
) -> None:
    cache = redis_manager()

    @cache.region("functions")
    def load(size: int) -> bytes:
        return bytes([calls()]) * size

    load(1)
    keys = len(redis.keys())
    large = load(5_000_000)
    assert load(5_000_000) == large
    assert len(redis.keys()) == keys + 2, "its record, and its generation"


@pytest.mark.parametrize("fault", ["killed", "hanging"])
def test_a_server_that_fails_is_not_the_callers_failure(
    start: Start, calls: Calls, fault: str
) -> None:
    server = start()
    cache = manager_of(server.url, timeout=0.5)
    load = loader(cache, calls)
    assert (load(), load()) == (1, 1)
    if fault == "killed":
        server.kill()
    else:
        server.pause()
    assert load() == 2
    load.invalidate()
    assert cache["functions"].stats["failed.server"] > 0
    if fault == "killed":
        server.start()
    else:
        server.resume()
    again = load()
    while load() != again:
        again = load()
    assert again > 2, "the value from before the fault is not read again"


def test_bytes_that_are_no_answer_of_redis(memcached: Any, calls: Calls) -> None:
    cache = manager_of(f"redis://{memcached.address}", timeout=0.5)
    load = loader(cache, calls)
    assert (load(), load()) == (1, 2)
    assert cache["functions"].stats["failed.server"] > 0


def test_its_memory_and_its_policy_are_checked(start: Start) -> None:
    server = start("--maxmemory", "50mb", "--maxmemory-policy", "noeviction")
    region = manager_of(f"redis://u:secret@{server.address}")["functions"]
    assert health.servers_of(region) == [f"{server.address}/0"]
    server.ask("ACL", "SETUSER", "u", "on", ">secret", "~*", "+@all")

    def found() -> str:
        return " | ".join(
            f"{each.level}: {each.message}" for each in health.check([region])[region]
        )

    assert "ok: redis " in found()
    assert "warning: stores nothing new once its memory is full: set maxmemory-policy" in found()
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    assert "error: is nearly full: 1.0 MB" in found()
    server.ask("CONFIG", "SET", "maxmemory", "50mb")
    server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    assert "warning: maxmemory-policy is volatile-lru" in found()
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert "warning" not in found()
    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert "warning: maxmemory is not set" in found()
    server.kill()
    assert f"error: redis is away: Error 111 connecting to {server.address}" in found()


def test_several_servers_have_each_a_part_of_the_entries(start: Start, calls: Calls) -> None:
    servers = [start() for _ in range(3)]
    cache = manager_of(",".join(server.url for server in servers))

    @cache.region("functions", tags=["all"])
    def load(key: int) -> int:
        return calls()

    first = load.many(range(40))
    assert load.many(range(40)) == first
    assert all(server.ask("DBSIZE") != b":0" for server in servers)
    cache.invalidate_tags("all")
    assert min(load.many(range(40))) > max(first)


def test_a_server_that_is_away_while_a_time_limit_is_handled(start: Start, calls: Calls) -> None:
    server = start()
    load = loader(manager_of(server.url, timeout=0.5), calls)
    load()

    def end(*_: object) -> None:
        raise TimeoutError("over")

    former = signal.signal(signal.SIGALRM, end)
    try:
        signal.raise_signal(signal.SIGALRM)
    except TimeoutError:
        server.kill()
        assert load() == 2
    finally:
        signal.signal(signal.SIGALRM, former)
