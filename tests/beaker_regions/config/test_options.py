"""The configuration: Beaker's own keys work, and what cannot work is refused at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beaker_regions import CacheManager, ConfigurationError, parse_cache_config_options
from beaker_regions.config.addresses import redis_servers, servers
from beaker_regions.config.environment import memcached_options, redis_options


def configured(config: dict[str, Any]) -> CacheManager:
    return CacheManager(**parse_cache_config_options({"cache.secret": "of the tests", **config}))


def test_regions_inherit_options_without_the_name_of_a_region(tmp_path: Path) -> None:
    cache = configured(
        {
            "cache.regions": "functions, files",
            "cache.type": "file",
            "cache.data_dir": str(tmp_path),
            "cache.expire": "60",
            "cache.functions.type": "ext:memcached",
            "cache.functions.url": "127.0.0.1:11211",
            "cache.files.expire": 5 * 24 * 60 * 60,
            "cache.files.grace": "30",
            "another.setting": "is not ours",
        }
    )
    functions, files = cache.options["functions"], cache.options["files"]
    assert (functions.type, functions.expire) == ("ext:memcached", 60)
    assert dict(functions.backend) == {"url": (("127.0.0.1:11211", 1),)}
    assert (files.type, files.expire, files.grace) == ("file", 432000, 30)
    assert files.data_dir == tmp_path


def test_the_keys_that_beaker_takes_from_an_ini_file(tmp_path: Path) -> None:
    cache = configured(
        {
            "beaker.cache.regions": "short",
            "beaker.cache.type": "file",
            "beaker.cache.data_dir": str(tmp_path),
            "beaker.cache.lock_dir": str(tmp_path / "lock"),
            "beaker.cache.key_length": "250",
            "beaker.cache.enabled": "false",
            "beaker.cache.short.expire": "None",
        }
    )
    assert cache.options["short"].expire == math.inf
    assert cache.options["short"].enabled is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache.functons.expire": 1}, "no region 'functons'.*did you mean 'functions'"),
        ({"cache.functions.expires": 1}, "region 'functions': expires: .*mean 'expire'"),
        ({"cache.expires": 1}, "cache.expires: no such option; did you mean 'expire'"),
        ({"cache.functions.type": "memcached"}, "type = 'memcached': did you mean 'ext:memcached'"),
        ({"cache.functions.expire": "1 hour"}, "expire = '1 hour': give a number of seconds"),
        ({"cache.functions.expire": 0}, "expire = 0: .*enabled = False"),
        ({"cache.functions.expire": -1}, "expire = -1: give a number of seconds"),
        ({"cache.functions.expire": True}, "expire = True: give a number"),
        ({"cache.functions.expire": float("nan")}, "expire = nan"),
        ({"cache.functions.grace": "x"}, "grace = 'x'"),
        ({"cache.functions.lease": 0}, "lease = 0: .*above 0"),
        ({"cache.functions.enabled": "maybe"}, "enabled = 'maybe': give True or False"),
        ({"cache.functions.data_dir": 7}, "data_dir = 7: give the path of a folder"),
        ({"cache.functions.data_dir": "/dev/null/x"}, "data_dir = '/dev/null/x': Not a directory"),
        ({"cache.functions.url": "127.0.0.1"}, "url: no such option"),
        ({"cache.functions.type": "ext:memcached"}, "url: name the servers"),
        ({"cache.regions": "a b"}, "'a b' cannot name a region"),
    ],
)
def test_unusable_options_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    config = {"cache.regions": "functions", "cache.type": "file", "cache.data_dir": tmp_path}
    with pytest.raises(ConfigurationError, match=message):
        configured(config | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "host:99999"}, "url = 'host:99999': 'host:99999' is not the address of a server"),
        ({"url": "http://host"}, "'http://host' is not the address"),
        ({"url": ""}, "name at least one server"),
        ({"url": "a:1;a:1"}, "the same server is named twice"),
        ({"url": "a", "timeout": 0}, "timeout = 0"),
        ({"url": "a", "username": "x"}, "username and password go together"),
        ({"url": "a", "file_dir": "x"}, "file_dir: no such option"),
    ],
)
def test_memcached_options_that_cannot_work(options: dict[str, Any], message: str) -> None:
    config = {f"cache.functions.{name}": value for name, value in options.items()}
    with pytest.raises(ConfigurationError, match=message):
        configured(
            {"cache.regions": "functions", "cache.functions.type": "ext:memcached", **config}
        )


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("functins", "region 'files': cluster = 'functins': there is no .*mean 'functions'"),
        ("other", "cluster = 'other': that region is of type 'file': name one of type 'ext:mem"),
        (["functions"], "there is no such region"),
    ],
)
def test_files_meet_on_the_servers_of_a_region_or_not_at_all(
    tmp_path: Path, cluster: object, message: str
) -> None:
    config = {
        "cache.regions": "functions, files, other",
        "cache.type": "file",
        "cache.data_dir": tmp_path,
        "cache.functions.type": "ext:memcached",
        "cache.functions.url": "127.0.0.1:11211",
    }
    cache = configured(config | {"cache.files.cluster": "functions"})
    assert dict(cache.options["files"].backend) == {"cluster": cache.options["functions"]}
    with pytest.raises(ConfigurationError, match=message):
        configured(config | {"cache.files.cluster": cluster})
    with pytest.raises(ConfigurationError, match=r"region 'functions': cluster: no such option"):
        configured(config | {"cache.functions.cluster": "functions"})
    with pytest.raises(ConfigurationError, match="cluster = 'functions': name a region of type"):
        cache.cache(type="file", data_dir=str(tmp_path), cluster="functions")


def test_a_file_region_needs_a_folder() -> None:
    with pytest.raises(ConfigurationError, match="data_dir: name the folder"):
        configured({"cache.regions": "files", "cache.files.type": "file"})


def test_no_error_shows_a_secret() -> None:
    for option in ("secret", "password"):
        with pytest.raises(ConfigurationError) as caught:
            configured(
                {
                    "cache.regions": "functions",
                    "cache.functions.type": "ext:memcached",
                    "cache.functions.url": "a",
                    f"cache.functions.{option}": {"shown": "hunter2"},
                }
            )
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        {"url": "redis://one:hunter2/a@host"},
        {"url": "redis://:hunter2#a@host/0"},
        {"url": "redis://:/hunter2@host/0"},
        {"url": [("redis://one:hunter2@host", -1)]},
        {"url": "redis://host?password=hunter2&db=a,redis://host?username=hunter2&b=1"},
        {"url": "redis://host", "pasword": "hunter2"},
    ],
    ids=str,
)
def test_no_error_shows_a_password_of_redis(option: dict[str, Any]) -> None:
    options = {f"cache.functions.{name}": value for name, value in option.items()}
    with pytest.raises(ConfigurationError) as caught:
        configured({"cache.regions": "functions", "cache.functions.type": "ext:redis", **options})
    assert "hunter2" not in str(caught.value)


# -- server addresses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", {"a:11211": 1}),
        ("a:1, b:2;c", {"a:1": 1, "b:2": 1, "c:11211": 1}),
        ("[::1]:5 [fe80::1]", {"[::1]:5": 1, "[fe80::1]:11211": 1}),
        ("unix:/run/memcached.sock", {"unix:/run/memcached.sock": 1}),
        ("a?weight=2.5 b:1?weight=3", {"a:11211": 2.5, "b:1": 3}),
        ("a b?weight=0", {"a:11211": 1, "b:11211": 0}),
        (["a:1", ("b", 2)], {"a:1": 1, "b:11211": 2}),
    ],
)
def test_server_addresses_and_weights(text: object, expected: dict[str, float]) -> None:
    assert dict(servers(text)) == expected


@given(st.text(max_size=30))
def test_any_text_is_servers_or_a_clear_error(text: str) -> None:
    try:
        found = servers(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017
    else:
        assert found == servers(list(found)), "what was read reads the same again"


# -- the environment --------------------------------------------------------------------------


def test_without_servers_in_the_environment_nothing_changes() -> None:
    assert memcached_options("functions", {"MEMCACHED_SERVERS": " "}) == {}


def test_memcached_servers_of_the_environment() -> None:
    assert memcached_options("functions", {"MEMCACHED_SERVERS": "a:1,b"}) == {
        "cache.functions.type": "ext:memcached",
        "cache.functions.url": "a:1,b",
    }


def test_memcachier_signs_in() -> None:
    environ = {
        "MEMCACHIER_SERVERS": "a:1",
        "MEMCACHIER_USERNAME": "me",
        "MEMCACHIER_PASSWORD": "word",
    }
    assert memcached_options("functions", environ) == {
        "cache.functions.type": "ext:memcached",
        "cache.functions.url": "a:1",
        "cache.functions.username": "me",
        "cache.functions.password": "word",
    }
    del environ["MEMCACHIER_PASSWORD"]
    with pytest.raises(ConfigurationError, match="MEMCACHIER_PASSWORD is missing"):
        memcached_options("functions", environ)


def test_an_unusable_server_of_the_environment_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"MEMCACHED_SERVERS = 'a:b'.*host:port"):
        memcached_options("functions", {"MEMCACHED_SERVERS": "a:b"})


def test_the_environment_names_a_redis_as_hosting_platforms_do() -> None:
    assert redis_options("functions", {"REDIS_URL": " "}) == {}
    assert redis_options("functions", {"VALKEY_URL": "valkeys://me:secret@a:1/2"}) == {
        "cache.functions.type": "ext:valkey",
        "cache.functions.url": "valkeys://me:secret@a:1/2",
    }
    with pytest.raises(ConfigurationError, match="REDIS_URL = 'http://a'") as raised:
        redis_options("functions", {"REDIS_URL": "http://me:secret@a"})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://a", {"redis://a": 1.0}),
        ("valkey://a:1/2 rediss://b?weight=3", {"redis://a:1/2": 1.0, "rediss://b": 3.0}),
        ("unix:///run/redis?db=1", {"unix:///run/redis?db=1": 1.0}),
        ([("redis://a?max_connections=5", 0), "redis://b"], {"redis://a": 0.0, "redis://b": 1.0}),
    ],
)
def test_urls_of_redis(url: Any, found: dict[str, float]) -> None:
    assert dict(redis_servers(url)) == found


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "name at least one"),
        ("redis://u:secret@a/?weight=0", "weight 0 stores nothing"),
        ("redis://u:secret@a redis://a", "named twice"),
        ("redis://u:secret@a:99999", "is not the URL of a server"),
        ("redis://u:secret@/0", "not the URL"),
        ("redis://a?password=secret&weight=much", "a weight is a number"),
    ],
)
def test_urls_of_redis_that_cannot_work(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        redis_servers(url)
    assert "secret" not in str(raised.value)
