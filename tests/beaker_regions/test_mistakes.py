"""What somebody may do wrong, and what the error has to say: each line is one mistake."""

from __future__ import annotations

import datetime
import functools
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from beaker_regions import (
    CacheManager,
    ConfigurationError,
    UnkeyableArgumentError,
    parse_cache_config_options,
)
from beaker_regions.django import (
    declare_row_tags,
    invalidate_model,
    region_page,
    row_tags,
    use_manager,
)
from beaker_regions.entries.keys import Located, register
from tests.beaker_regions.conftest import Manager


def load(number: int, power: int = 1) -> int:
    return int(number**power)


def of_author(author_id: int) -> int:
    return author_id


def region(cache: CacheManager, *names: Any, **options: Any) -> Any:
    return cache.region("functions", *names, **options)(load)


def author(cache: CacheManager) -> Any:
    return cache.region("functions")(of_author)


def twice(cache: CacheManager) -> None:
    for number in (1, 2):

        @cache.region("functions")
        def closure(number: int = number) -> None: ...


class Thing:
    def __call__(self) -> None: ...


class Shop:
    @property
    def price(self) -> int:
        return 1


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    # -- the decorator
    "bare": (lambda c: c.region(load), ConfigurationError, r"@cache\.region\(\"functions\"\)"),
    "a region that is None": (lambda c: c.region(None), ConfigurationError, "the name of a region"),
    "a mistyped region": (
        lambda c: c.region("fuctions"),
        ConfigurationError,
        "no region 'fuctions'; did you mean 'functions'",
    ),
    "timeout": (lambda c: region(c, timeout=60), ConfigurationError, r"'timeout'.*expire="),
    "ttl": (lambda c: region(c, ttl=60), ConfigurationError, r"'ttl'.*expire="),
    "a mistyped option": (lambda c: region(c, expires_=6), ConfigurationError, "mean 'expire'"),
    "tag for tags": (lambda c: region(c, tag=["a"]), ConfigurationError, "did you mean 'tags'"),
    "expire as text": (
        lambda c: region(c, expire="1h"),
        ConfigurationError,
        "expire = '1h'.*seconds",
    ),
    "expire of 0": (lambda c: region(c, expire=0), ConfigurationError, "above 0"),
    "expire below 0": (lambda c: region(c, expire=-1), ConfigurationError, "not negative"),
    "expire as a flag": (lambda c: region(c, expire=True), ConfigurationError, "number of seconds"),
    "a negative timedelta": (
        lambda c: region(c, expire=datetime.timedelta(-1)),
        ConfigurationError,
        "not negative",
    ),
    "grace below 0": (lambda c: region(c, grace=-1), ConfigurationError, "load: grace = -1"),
    "early as text": (
        lambda c: region(c, early="soon"),
        ConfigurationError,
        "load: early = 'soon'",
    ),
    "early too large": (lambda c: region(c, early=11), ConfigurationError, "from 0"),
    "ignore of no parameter": (
        lambda c: region(c, ignore=["numbr"]),
        ConfigurationError,
        "load: ignore='numbr' is not a parameter; it has number, power",
    ),
    "warm with arguments": (
        lambda c: region(c, warm=lambda number: []),
        ConfigurationError,
        "load: warm = .*without arguments",
    ),
    "a mistyped depends_on": (
        lambda c: region(c, depends_on="expire"),
        ConfigurationError,
        "load: depends_on = 'expire': write 'tags' or 'expiry'",
    ),
    "depends_on as a list": (
        lambda c: region(c, depends_on=["expiry"]),
        ConfigurationError,
        "load: depends_on = .*write 'tags' or 'expiry'",
    ),
    "depends on an expiry that never comes": (
        lambda c: region(c, depends_on="expiry"),
        ConfigurationError,
        "load: depends_on = 'expiry': such values never expire; give a number of seconds",
    ),
    # -- what is decorated
    "a lambda": (lambda c: c.region("functions")(lambda: 1), ConfigurationError, "write it as def"),
    "a number": (lambda c: c.region("functions")(5), ConfigurationError, "5 cannot be cached"),
    "nothing": (lambda c: c.region("functions")(None), ConfigurationError, "not a function"),
    "a property": (
        lambda c: c.region("functions")(Shop.price),
        ConfigurationError,
        "write @property above it",
    ),
    "a partial": (
        lambda c: c.region("functions")(functools.partial(load, 1)),
        ConfigurationError,
        "no name.*give it a label",
    ),
    "a callable object": (
        lambda c: c.region("functions")(Thing()),
        ConfigurationError,
        "no name.*give it a label",
    ),
    "two closures of one name": (twice, ConfigurationError, "closure already.*a label"),
    "two keys of one function": (
        lambda c: (region(c), region(c, key=lambda *_: 1)),
        ConfigurationError,
        "another function is called",
    ),
    # -- tags
    "tags as one text": (
        lambda c: region(c, tags="a"),
        ConfigurationError,
        "one string; give a list",
    ),
    "a tag that is a number": (
        lambda c: region(c, tags=[1]),
        ConfigurationError,
        "tag 1 is no text",
    ),
    "a tag of no parameter": (
        lambda c: region(c, tags=["n:{numbr}"]),
        ConfigurationError,
        "'numbr'; did you mean 'number'",
    ),
    "a tag without a name": (lambda c: region(c, tags=["n:{}"]), ConfigurationError, "tag 'n:{}'"),
    "a tag that is not closed": (lambda c: region(c, tags=["{n"]), ConfigurationError, "tag '{n'"),
    "tags that return one text": (
        lambda c: region(c, tags=lambda *_: "abc")(1),
        ConfigurationError,
        "load: tags= returned one string, 'abc'",
    ),
    "invalidate_tags of a list": (
        lambda c: c.invalidate_tags(["a", "b"]),
        ConfigurationError,
        r"write invalidate_tags\(\*tags\)",
    ),
    "invalidate_tags of a number": (
        lambda c: c.invalidate_tags(7),
        ConfigurationError,
        "7 is not a tag",
    ),
    # -- calls
    "too many arguments": (
        lambda c: region(c)(1, 2, 3),
        TypeError,
        r"load\(number.*\).*: too many positional arguments",
    ),
    "too many to invalidate": (
        lambda c: region(c).invalidate(1, 2, 3),
        TypeError,
        r"load\(number.*\).*: too many positional arguments",
    ),
    "too few to invalidate": (
        lambda c: region(c).invalidate(),
        TypeError,
        r"load\(number.*\).*: missing .*\nTo invalidate every call, use load\.invalidate_all\(\)",
    ),
    "a keyword that is none": (
        lambda c: region(c).invalidate(numbr=1),
        TypeError,
        "load.*(numbr|number)",
    ),
    "peek of too many": (lambda c: region(c).peek(1, 2, 3), TypeError, "load.*too many"),
    "refresh of too many": (lambda c: region(c).refresh(1, 2, 3), TypeError, "load.*too many"),
    "many of too many": (lambda c: region(c).many([(1, 2, 3)]), TypeError, "load.*too many"),
    "an argument without a key": (
        lambda c: region(c)(object()),
        UnkeyableArgumentError,
        r"load: argument 'number'.*ignore=\['number'\].*key=",
    ),
    "a function as an argument": (lambda c: region(c)(load), UnkeyableArgumentError, "'number'"),
    "NaN": (
        lambda c: region(c)(float("nan")),
        UnkeyableArgumentError,
        "NaN is not equal to itself",
    ),
    "an unsaved row": (lambda c: region(c)(User()), UnkeyableArgumentError, "not saved"),
    "a key= without a key": (
        lambda c: region(c, key=lambda *_: object())(1),
        UnkeyableArgumentError,
        "load: key= returned .*Return",
    ),
    "a row for its id": (
        lambda c: author(c).invalidate(User(pk=7)),
        UnkeyableArgumentError,
        "of_author: argument 'author_id'.*it is a row.*not a row's id",
    ),
    "a call with a row for its id": (
        lambda c: author(c)(User(pk=7)),
        UnkeyableArgumentError,
        "not a row's id",
    ),
    "a type that is known": (lambda c: register(int, str), ConfigurationError, "int has a key"),
    # -- the manager
    "options that are not parsed": (
        lambda c: CacheManager(**{"cache.regions": "functions"}),
        ConfigurationError,
        r"'cache.regions'.*\(\*\*parse_cache_config_options\(options\)\)",
    ),
    "no regions": (
        lambda c: CacheManager(**parse_cache_config_options({"cache.type": "memory"}))["functions"],
        ConfigurationError,
        "no region is configured: name them in the option cache.regions",
    ),
    "invalidate of no function": (
        lambda c: c.region_invalidate(load, "functions", 1),
        ConfigurationError,
        "not a function that is cached in region 'functions'",
    ),
    "invalidate of a mistyped region": (
        lambda c: c.invalidate_region("function"),
        ConfigurationError,
        "did you mean 'functions'",
    ),
    "invalidate with other names": (
        lambda c: c.region_invalidate(region(c, "a"), "functions", "b", 1),
        ConfigurationError,
        "the labels of its decorator are",
    ),
    "a counter that lives for 0 s": (
        lambda c: c.counter("functions", "hits", expire=0),
        ConfigurationError,
        "counter 'hits': expire = 0",
    ),
    "a counter of an object": (
        lambda c: c.counter("functions", "hits", object()),
        UnkeyableArgumentError,
        "counter 'hits'",
    ),
    "counting down": (lambda c: c.counter("functions", "hits").add(-1), ValueError, "'hits': -1"),
    "values that live for 0 s": (
        lambda c: c.values("functions", "carts", expire=0),
        ConfigurationError,
        "values 'carts': expire = 0",
    ),
    "a value of an object": (
        lambda c: c.values("functions", "carts").get(object()),
        UnkeyableArgumentError,
        "values 'carts'",
    ),
    "a value that lives for -1 s": (
        lambda c: c.values("functions", "carts").set(1, 1, expire=-1),
        ValueError,
        "values 'carts': expire = -1",
    ),
    "a mistyped region of a counter": (
        lambda c: c.counter("fuctions", "hits"),
        ConfigurationError,
        "did you mean 'functions'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_says_what_to_do(file_manager: Manager, mistake: str) -> None:
    make, error, words = MISTAKES[mistake]
    with pytest.raises(error) as raised:
        make(file_manager())
    said = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", ())])
    assert re.search(words, said), said


def test_expire_and_grace_may_be_timedeltas(file_manager: Manager) -> None:
    hour, minute = datetime.timedelta(hours=1), datetime.timedelta(minutes=1)
    cached = file_manager(expire=hour).region("functions", grace=minute)(load)
    assert (cached.policy.expire, cached.policy.grace) == (3600, 60)
    cached = file_manager().region("functions", "other", expire=minute)(load)
    assert cached.policy.expire == 60


IN_DJANGO: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "a page without a region": (region_page, (load,), r'@region_page\("functions"\)'),
    "row_tags without brackets": (row_tags, (User,), r'given User: write @row_tags\("list'),
    "a mistyped model": (
        declare_row_tags,
        ("tasks.Taks",),
        "no model .*; did you mean 'tasks.Task'",
    ),
    "a model that is no label": (invalidate_model, ("Zzz",), "no model 'Zzz'; valid: .*tasks.Task"),
    "a module for a manager": (use_manager, (re,), "give it a CacheManager"),
    "a key for rows": (invalidate_model, ("tasks.Task", 7), r"Task\): rows = 7: give a list"),
    "a text for rows": (invalidate_model, ("tasks.Task", "7"), r"rows = '7': give a list"),
}


@pytest.mark.parametrize("mistake", IN_DJANGO)
def test_an_error_of_django_says_what_to_do(mistake: str) -> None:
    call, arguments, words = IN_DJANGO[mistake]
    with pytest.raises(ConfigurationError, match=words):
        call(*arguments)


def test_a_manager_names_its_regions(file_manager: Manager) -> None:
    assert repr(file_manager()) == "<CacheManager: functions (file)>"
    assert repr(CacheManager(**parse_cache_config_options({}))) == "<CacheManager: no region>"


def test_a_wrong_vary_by_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="write 'user' or 'session', or give a function"):
        region_page("functions", vary_by="usr")


CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a mistyped type": ({"type": "fil"}, "type = 'fil': did you mean 'file'"),
    "a mistyped option": ({"expir": 1}, "did you mean 'expire'"),
    "expire as text": ({"expire": "1h"}, "region 'functions': expire = '1h'"),
    "a lease of 0": ({"lease": 0}, "lease = 0"),
    "enabled as text": ({"enabled": "maybe"}, "enabled = 'maybe': give True or False"),
    "an empty secret": ({"secret": ""}, "region 'functions': secret: give a secret"),
    "a size in words": ({"size_limit": "20 GB"}, "size_limit = '20 GB': give a number of bytes"),
    "no servers": ({"type": "ext:memcached"}, "url.*name the servers"),
    "a cluster that is none": ({"cluster": "servers"}, "cluster = 'servers'"),
    "a folder that is a file": ({"data_dir": __file__}, "data_dir = .*folder"),
    "a name without a password": (
        {"type": "ext:memcached", "url": "127.0.0.1:1", "username": "me"},
        "username and password go together",
    ),
    "redis is missing": (
        {"type": "ext:redis", "url": "redis://x"},
        r"redis is not installed: pip install 'redis\[hiredis\]'",
    ),
    "no servers of redis": ({"type": "ext:redis"}, "url.*redis://127.0.0.1:6379"),
    "a server that is no URL": ({"type": "ext:valkey", "url": "127.0.0.1:1"}, "write redis://host"),
    "an option of a URL": (
        {"type": "ext:redis", "url": "redis://:secret@a/?ssl_ca_cert=x"},
        "url = 'redis://a.*: ssl_ca_cert: did you mean 'ssl_ca_certs'",
    ),
    "a database of a cluster": (
        {"type": "ext:rediscluster", "url": "redis://:secret@a/1"},
        "url = 'redis://a/1'.*a node of a cluster has no socket, no database but 0, and no weight",
    ),
    "two passwords of a cluster": (
        {"type": "ext:rediscluster", "url": "redis://:secret@a,redis://:other@b"},
        "nodes of a cluster have the same scheme, user, password",
    ),
    "a database that is none": ({"type": "ext:redis", "url": "redis://a/b"}, "number, such as /0"),
}


@pytest.mark.parametrize("mistake", CONFIGURATIONS)
def test_a_configuration_that_cannot_be_used_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    own, words = CONFIGURATIONS[mistake]
    options = {"type": "file", "secret": "s", **own}
    if options["type"] == "file":
        options = {"data_dir": tmp_path, **options}
    config = {f"cache.functions.{name}": value for name, value in options.items()}
    with pytest.raises(ConfigurationError) as raised:
        CacheManager(**parse_cache_config_options({"cache.regions": "functions", **config}))
    assert re.search(words, str(raised.value)), str(raised.value)


def test_a_place_is_no_identity_of_its_own(file_manager: Manager) -> None:
    """The parameter's name decides only for what is a row."""
    cached = author(file_manager())
    assert cached(7) == 7
    with pytest.raises(UnkeyableArgumentError):
        cached(Located(7, "there"))
