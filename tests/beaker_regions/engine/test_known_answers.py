"""Answers that a process has had before: compared with what the server gives now, and bounded."""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any

import memcache
import pytest

import beaker_regions
from beaker_regions import CacheManager
from beaker_regions.entries import keys
from beaker_regions.entries.entry import tag_scope
from beaker_regions.entries.known import Known, KnownAnswers
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Later, Manager
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions.entries.entry import Entry
    from tests.servers import Memcached

TIMES = 5
"""Calls after which an answer is known, and its value decided."""


@pytest.fixture(params=["memcached_manager"])
def cache(request: pytest.FixtureRequest) -> CacheManager:
    manager: Manager = request.getfixturevalue(request.param)
    return manager(expire=60)


@pytest.fixture
def client(memcached: Memcached) -> Iterator[Any]:
    made = memcache.Client([memcached.address])
    yield made
    made.disconnect_all()


def key_of(entry: Entry) -> str:
    return f"brg1:{entry.address.hex()}"


def known(call: Callable[[], Any]) -> Any:
    """Call so often that the answer is known; return the value."""
    return [call() for _ in range(TIMES)][-1]


def is_known(cache: CacheManager, entry: Entry) -> bool:
    lookup = cache["functions"].lookup(entry)
    return type(lookup) is Known and bool(lookup.request)


def test_a_known_record_with_one_other_byte_is_refused(
    cache: CacheManager, client: Any, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> tuple[int, str]:
        return calls(), "a" * 100

    known(load)
    assert is_known(cache, load.entry())
    sealed = client.get(key_of(load.entry()))
    for at in (0, 4, 30, len(sealed) - 1):
        forged = bytearray(sealed)
        forged[at] ^= 1
        client.set(key_of(load.entry()), bytes(forged))
        before = calls.count
        assert load() == (before + 1, "a" * 100)
        known(load)
        sealed = client.get(key_of(load.entry()))
    assert cache["functions"].stats["failed.refused"] >= 3


def test_a_known_record_under_another_known_key_is_refused(
    cache: CacheManager, client: Any, calls: Calls
) -> None:
    @cache.region("functions")
    def load(name: str) -> str:
        calls()
        return name

    assert known(lambda: load("a")) == "a"
    assert known(lambda: load("b")) == "b"
    client.set(key_of(load.entry("b")), client.get(key_of(load.entry("a"))))
    assert load("b") == "b"
    assert calls.count == 3
    assert cache["functions"].stats["failed.refused"]


def test_entries_with_equal_values_are_known_apart(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(name: str) -> str:
        calls()
        return "the same"

    known(lambda: (load("a"), load("b")))
    load.invalidate("a")
    load("b")
    assert calls.count == 2
    load("a")
    assert calls.count == 3


def test_a_call_with_other_scopes_is_not_the_known_one(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    known(load)
    entry = load.entry()
    tagged = entry._replace(scopes=(*entry.scopes, tag_scope("a")))
    lookup = cache["functions"].lookup(tagged)
    assert lookup is not None
    assert len(lookup.generations) == len(tagged.scopes)
    assert not lookup.is_current


def test_a_known_value_expires(cache: CacheManager, calls: Calls, later: Later) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    assert known(load) == 1
    later(90)
    assert load() == 2


def test_another_process_invalidates_between_two_hits(cache: CacheManager, calls: Calls) -> None:
    size = 10

    @cache.region("functions", tags=["all"])
    def load(number: int) -> tuple[int, str]:
        return calls(), "a" * size

    def renew() -> None:
        nonlocal size
        load.invalidate(1)
        size = 100_000  # longer than the known answer
        assert load(1) == (3, "a" * size)
        cache.invalidate_tags("all")

    assert known(lambda: load(1)) == (1, "a" * 10)
    assert known(lambda: load(2)) == (2, "a" * 10)
    assert statuses([fork(renew)]) == [0]
    assert load(2) == (3, "a" * 10)
    assert load(1) == (4, "a" * 10)


def test_a_longer_answer_than_the_known_one_is_read_to_its_end(
    cache: CacheManager, calls: Calls
) -> None:
    text = "a"

    @cache.region("functions")
    def load() -> str:
        calls()
        return text

    def renew() -> None:
        nonlocal text
        text = "b" * 300_000
        load.refresh()

    known(load)
    assert statuses([fork(renew)]) == [0]
    assert known(load) == "b" * 300_000
    assert calls.count == 1


def test_children_have_connections_of_their_own(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> tuple[int, int]:
        calls()
        return number, number

    def read() -> None:
        for _ in range(10):
            for number in range(20):
                assert load(number) == (number, number)
        # An answer to another process's request would be a miss.
        assert calls.count == 20

    read()
    children = [fork(read) for _ in range(3)]
    read()
    assert statuses(children) == [0, 0, 0]


def test_each_caller_gets_a_list_of_its_own(cache: CacheManager) -> None:
    @cache.region("functions")
    def load() -> list[Any]:
        return [1, "a" * 40_000]  # long enough to be stored compressed

    for _ in range(TIMES):
        value = load()
        assert value == [1, "a" * 40_000]
        value.append(2)


def test_an_immutable_value_is_returned_again(cache: CacheManager) -> None:
    @cache.region("functions")
    def load() -> tuple[int, tuple[str]]:
        return 1, ("a",)

    assert known(load) is load()


def test_a_value_with_shared_is_returned_again(cache: CacheManager) -> None:
    @cache.region("functions", shared=True)
    def load() -> list[int]:
        return [1]

    assert known(load) is load()


def test_shared_is_true_or_false(cache: CacheManager) -> None:
    def load() -> int:
        return 1

    with pytest.raises(beaker_regions.ConfigurationError, match="shared = 'yes'"):
        cache.region("functions", shared="yes")(load)  # type: ignore[arg-type]


def test_a_bypassed_call_uses_no_known_answer(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    assert known(load) == 1
    with cache.bypassed():
        assert load() == 2


def test_known_answers_are_asked_for_again_after_a_restart(
    cache: CacheManager, memcached: Memcached, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        return calls()

    known(load)
    memcached.restart()
    assert known(load) == 2


def test_a_server_that_hangs_costs_a_known_value(
    memcached_manager: Manager, memcached: Memcached, calls: Calls
) -> None:
    cache = memcached_manager(timeout=0.2, retry=0.1)

    @cache.region("functions")
    def load() -> int:
        return calls()

    # On a busy machine the server may exceed the time-out: then it is left alone for a while.
    until(lambda: known(load) and is_known(cache, load.entry()), "it is not known")
    before = calls.count
    memcached.pause()
    try:
        assert load() == before + 1
    finally:
        memcached.resume()
    assert cache["functions"].stats["failed.server"] >= 1


def test_the_memory_is_bounded(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = KnownAnswers(100_000)
    monkeypatch.setattr(cache["functions"].store, "_known", answers)

    @cache.region("functions")
    def load(number: int) -> tuple[str, ...]:
        return (str(number),) * (10_000 if number == 0 else 100)

    for number in range(100):
        known(functools.partial(load, number))
        assert answers.size <= 100_000
    assert is_known(cache, load.entry(99))
    assert not is_known(cache, load.entry(0))


def test_entries_that_are_read_once_do_not_push_out_others(
    cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache["functions"].store, "_known", KnownAnswers(100_000))

    @cache.region("functions")
    def load(number: int) -> int:
        return number

    for number in range(100):
        load(number)
    known(lambda: load(0))
    for number in range(1, 100):
        assert load(number) == number
    assert is_known(cache, load.entry(0))


class Show(enum.StrEnum):
    ALL = "all"
    DONE = "done"


class Other(enum.StrEnum):
    ALL = "all"


class Alike(enum.Enum):
    """All members are equal, although their keys differ."""

    ONE = 1
    TWO = 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 1


def test_the_entry_of_an_enumeration_is_remembered(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(show: Any) -> str:
        return repr(show)

    made = [load.entry(show) for show in (Show.ALL, Show.DONE, Other.ALL, "all")]
    assert len({entry.address for entry in made}) == 4
    assert load.entry(Show.ALL) is made[0]
    assert load.entry(Alike.ONE).address != load.entry(Alike.TWO).address


def test_an_enumeration_that_gets_a_key_has_other_entries(
    cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_registered", dict(keys._registered))

    class Late(enum.Enum):
        ONE = 1

    @cache.region("functions")
    def load(late: Late) -> str:
        return repr(late)

    before = load.entry(Late.ONE)
    assert load.entry(Late.ONE) is before
    beaker_regions.register_key(Late, lambda late: late.value)
    assert load.entry(Late.ONE).address != before.address


def test_another_process_invalidates_one_of_many_known_calls(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions", tags=["number:{number}"])
    def load(number: int) -> tuple[int, int]:
        calls()
        return number, calls.count

    numbers = [1, 2, 3]
    assert known(lambda: load.many(numbers)) == [(1, 1), (2, 2), (3, 3)]
    assert statuses([fork(lambda: cache.invalidate_tags("number:2"))]) == [0]
    assert load.many(numbers) == [(1, 1), (2, 4), (3, 3)]
    assert statuses([fork(lambda: load.invalidate(3))]) == [0]
    assert known(lambda: load.many(numbers)) == [(1, 1), (2, 4), (3, 5)]
    assert calls.count == 5


def test_many_known_calls_survive_a_restart(
    cache: CacheManager, memcached: Memcached, calls: Calls
) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        calls()
        return number

    assert known(lambda: load.many([1, 2])) == [1, 2]
    memcached.restart()
    assert known(lambda: load.many([1, 2])) == [1, 2]
    assert calls.count == 4


def test_many_known_calls_of_which_one_is_long_are_read_to_the_end(
    cache: CacheManager, calls: Calls
) -> None:
    size = 10

    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return bytes([number]) * size

    def renew() -> None:
        nonlocal size
        size = 300_000
        load.refresh(1)

    known(lambda: load.many([1, 2]))
    assert statuses([fork(renew)]) == [0]
    assert known(lambda: load.many([1, 2])) == [b"\1" * 300_000, b"\2" * 10]
    assert calls.count == 2
