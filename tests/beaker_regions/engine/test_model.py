"""The protocol in every order of its steps: no read is older than an invalidation before it.

Callers and writers run over a store whose servers are dictionaries: every command is one
atomic step, as on a server. Between any two steps, another thread may continue, or a key may be
evicted. The tests go through all runs with up to a number of such disturbances (Musuvathi and
Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007),
and through random runs with any number of them.
"""

from __future__ import annotations

import itertools
import math
import random
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from beaker_regions.config.options import RegionOptions
from beaker_regions.engine import loading, waiting
from beaker_regions.engine.dependencies import QueryDependents
from beaker_regions.engine.drivers import Load, Wait
from beaker_regions.engine.reads import current_reads
from beaker_regions.engine.region import Region
from beaker_regions.engine.waiting import Waiter
from beaker_regions.entries.entry import Entry, address_of, entry_scope, tag_scope
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.records import GENERATION_SIZE, Signer
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.servers import generations as server_generations
from beaker_regions.stores.servers.connection import Connection, Item
from beaker_regions.stores.servers.rendezvous import choose as server_of
from beaker_regions.stores.servers.store import ServerStore
from tests.beaker_regions.turns import Interruptions, Turns, every_order, random_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from beaker_regions.engine.drivers import LoadFlow
    from beaker_regions.engine.store import Lease
    from beaker_regions.entries.entry import Lookup
    from beaker_regions.entries.records import Record
    from beaker_regions.stores.servers.connection import Halves
    from tests.beaker_regions.turns import Choose, Steps

FRESH = Policy(expire=math.inf, grace=0.0)
STALE = Policy(expire=0.0, grace=math.inf)
POLICIES = pytest.mark.parametrize(
    "policy", [pytest.param(FRESH, id="fresh"), pytest.param(STALE, id="within its grace")]
)
TAG, OTHER = "t00", "t01"
TABLE = "table"
TOMBSTONE = GENERATION_SIZE + 1
"""The size in bytes of a tombstone."""


class ModelConnection(Connection):
    """A connection to one of a run's servers. Every command is one step."""

    versions = itertools.count(1)

    def __init__(self, server: str, run: Run) -> None:
        self._server, self._run, self._held = server, run, run.held

    def _at(self, key: str) -> str:
        if self._server in self._run.down:
            raise StoreUnavailableError("server", "it is down")
        return f"{self._server} {key}"

    def _item(self, value: bytes) -> Item:
        return Item(value, (next(self.versions), None))

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._run.steps.pause()
        found = {key: self._held.get(self._at(key)) for key in keys}
        return {key: item.value for key, item in found.items() if item}

    def add(self, key: str, value: bytes, seconds: float) -> bool:
        self._run.steps.pause()
        item = self._item(value)
        return self._held.setdefault(self._at(key), item) is item

    def set(self, key: str, value: bytes, seconds: float) -> bool:
        self._run.steps.pause()
        self._held[self._at(key)] = self._item(value)
        return True

    def delete(self, key: str) -> None:
        self._run.steps.pause()
        self._held.pop(self._at(key), None)

    def gets(self, key: str) -> Item | None:
        self._run.steps.pause()
        return self._held.get(self._at(key))

    def cas(self, key: str, value: bytes, seconds: float, seen: Item | None) -> bool | None:
        self._run.steps.pause()
        if self._held.get(self._at(key)) != seen:
            return False
        self._held[self._at(key)] = self._item(value)
        return True

    def incr(self, key: str, amount: int) -> int | None:
        raise NotImplementedError

    def getting(self, keys: Sequence[str]) -> Halves[dict[str, bytes]]:
        yield
        return self.get(keys)

    def setting(self, keys: Sequence[str], value: bytes, seconds: float) -> Halves[dict[str, Item]]:
        yield
        found = {}
        for key in keys:
            self.set(key, value, seconds)
            if (item := self.gets(key)) is not None:
                found[key] = item
        return found

    def replacing(self, values: Mapping[str, bytes], seen: Mapping[str, Item]) -> Halves[list[str]]:
        yield
        return [
            key for key, value in values.items() if not self.cas(key, value, math.inf, seen[key])
        ]

    def deleting(self, keys: Sequence[str]) -> Halves[None]:
        yield
        if not ServerStore.deletes_at_once:
            for key in keys:
                self.delete(key)
            return
        self._run.steps.pause()
        for key in keys:
            self._held.pop(self._at(key), None)


class Clock:
    """A clock that stands still. A sleeping thread lets the others run first."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self._run.steps.pause(waiting=True)


class Undisturbed:
    """Nothing comes between two steps."""

    def pause(self, *, waiting: bool = False) -> None:
        pass


class Run:
    """Callers of entries, each made of the one before it, and writers that change the data of the
    first entry."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        entries: Sequence[Entry],
        *,
        servers: str = "a",
        policy: Policy = FRESH,
        lease: float = 0.005,
    ) -> None:
        # No time passes, so the same choices give the same run.
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)
        # For the protocol alone: a sleep of another test's thread is no step of this run, and does
        # not draw from the jitter of the waits.
        # The patch of an earlier run would otherwise keep all that the run stored.
        monkeypatch.setattr(server_generations, "time", Clock(weakref.proxy(self)))
        monkeypatch.setattr(waiting, "random", random.Random(0))
        store = ServerStore(
            [(server, 1.0) for server in servers],
            Signer(["of the tests"], "ext:memcached"),
            "model",
            lambda server: ModelConnection(server, self),
            retry=0.0,
        )
        self.region = Region(RegionOptions("model", "none", lease=lease), store)
        self.entries = entries
        self.policy = policy
        self.held: dict[str, Item] = {}
        """The data of all servers, by server and key."""
        self.down: set[str] = set()
        """The servers that do not answer."""
        self.steps: Steps = Undisturbed()
        self.truth = self.announced = 0

    def play(
        self,
        choose: Choose,
        disturbances: int,
        times: int,
        scopes: frozenset[str],
        callers: int = 2,
    ) -> None:
        """Let callers call the last entry, and a writer invalidate ``scopes``."""
        self.steps = turns = Turns(choose, disturbances, self.held)

        def call() -> None:
            for _ in range(times):
                self.call()

        def write() -> None:
            for _ in range(times):
                self.write(scopes)

        turns.run({**{f"caller {number}": call for number in range(callers)}, "writer": write})
        self.call()

    def write(self, scopes: frozenset[str]) -> None:
        """Change the data of the first entry, and invalidate ``scopes``."""
        self.steps.pause()
        self.truth = truth = self.truth + 1
        self.region.invalidate(scopes)
        self.announced = max(self.announced, truth)

    def call(self, number: int = -1) -> None:
        """Call like a decorated function. Check that the value is as new as the last announced
        version."""
        announced = self.announced
        assert self._call(number) >= announced

    def _call(self, number: int) -> int:
        entry = self.entries[number]
        reading = self.region.lookup(entry)
        value: Any = self.region.value_if_fresh(entry, reading, self.policy)
        if value is not MISSING:
            self.region.stats.count("hits")
            return int(value)
        return self._play(loading.load(self.region, entry, reading, self.policy), number)

    def _load(self, number: int) -> Any:
        value = self._call(number - 1) if number % len(self.entries) else self.truth
        self.steps.pause()
        return value

    def _play(self, flow: LoadFlow, number: int) -> int:
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as stop:
                return int(stop.value)
            if isinstance(step, Load):
                answer = self._load(number)
            elif isinstance(step, Wait):
                self.steps.pause(waiting=True)
                answer = None
            else:
                assert callable(step)
                answer = step()

    @property
    def served(self) -> int:
        """The number of stored values that were served."""
        return self.region.stats["hits"] + self.region.stats["stale"]


class RunOfQueries(Run):
    """Entries that depend on what they read: the truth's table, or the entry before."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dependents = QueryDependents(self.region, self.policy)

    def _call(self, number: int) -> int:
        entry = self.entries[number]
        lookup = self._dependents.lookup(entry)
        value: Any = self._dependents.value_if_fresh(entry, lookup, self.policy)
        if value is not MISSING:
            self.region.stats.count("hits")
            return int(value)
        return self._play(self._dependents.load(entry, lookup), number)

    def _load(self, number: int) -> Any:
        return self._dependents.dependent(partial(self._read, number))()

    def _read(self, number: int) -> int:
        if not number % len(self.entries):
            noted = current_reads()
            assert noted is not None
            noted.note_tags([TABLE])
        return super()._load(number)  # type: ignore[no-any-return]


def entry_on(server: str, servers: str, number: int, *scopes: str) -> Entry:
    """Return an entry that is stored on one of the servers."""
    weights = dict.fromkeys(servers, 1.0)
    addresses = (address_of(b"%d %d" % (number, at)) for at in itertools.count())
    address = next(each for each in addresses if server_of(weights, each) == server)
    return Entry("tests.load", address, (entry_scope(address), *scopes))


# -- one entry ---------------------------------------------------------------------------------


@POLICIES
@pytest.mark.parametrize(
    ("disturbances", "least"), [(1, 50), pytest.param(2, 1000, marks=pytest.mark.slow)]
)
def test_every_order_of_steps_with_some_disturbances(
    policy: Policy, disturbances: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_on("a", "a", 0)

    def play(choose: Choose) -> None:
        Run(monkeypatch, [entry], policy=policy).play(choose, disturbances, 1, entry.own_scope)

    assert every_order(play) > least


@POLICIES
@pytest.mark.parametrize("runs", [800, pytest.param(8000, marks=pytest.mark.slow)])
def test_random_orders_with_any_number_of_disturbances(
    policy: Policy, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_on("a", "a", 0, TAG)
    served = 0
    for seed in range(runs):
        run = Run(monkeypatch, [entry], policy=policy)
        run.play(random_order(seed), 1000, 3, frozenset((TAG,)))
        served += run.served
    assert served > 100, "the runs share values"


# -- values for waiting callers ----------------------------------------------------------------


class TakesWhatever(Waiter):
    """Takes a value that was stored while it waited."""

    def may_take(self, record: Record) -> bool:
        return True


class TrustsTheFirstTurn(Waiter):
    """Takes the value of a load that was running when it came."""

    def refused(self, lease: Lease) -> None:
        super().refused(lease)
        self._since.add(lease.turn)


class RemembersForOthers(Waiter):
    """Treats a lookup of an earlier caller as its own."""

    everybodys: ClassVar[set[tuple[bytes | None, ...]]] = set()

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._seen = self.everybodys


@pytest.mark.parametrize("wrong", [TakesWhatever, TrustsTheFirstTurn, RemembersForOthers])
def test_the_model_finds_a_wrong_rule(wrong: type[Waiter], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "Waiter", wrong)
    monkeypatch.setattr(RemembersForOthers, "everybodys", set())
    entry = entry_on("a", "a", 0, TAG)

    def play(seed: int) -> None:
        run = Run(monkeypatch, [entry], lease=1.0)
        run.play(random_order(seed), 1000, 3, frozenset((TAG,)), callers=3)

    with pytest.raises(AssertionError):
        list(map(play, range(800)))


@pytest.mark.parametrize("servers", ["a", "ab"])
def test_a_waiting_callers_value_is_no_older_than_its_call(
    servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry, and one that is made of it on another server."""
    entries = [
        entry_on(server, servers, number, (TAG, OTHER)[number % 2])
        for number, server in enumerate(servers)
    ]
    taken = 0

    class Counting(Waiter):
        def saw(self, reading: Lookup | None) -> None:
            super().saw(reading)
            self.latest = reading

        def may_take(self, record: Record) -> bool:
            nonlocal taken
            may = super().may_take(record)
            taken += may and self.latest is not None and not self.latest.is_current
            return may

    monkeypatch.setattr(loading, "Waiter", Counting)
    for seed in range(300):
        run = Run(monkeypatch, entries, servers=servers, lease=1.0)
        run.play(random_order(seed), 1000, 3, frozenset((TAG, OTHER)), callers=3)
    assert taken > 5, "a waiting caller may take a value that is no longer current"


# -- entries made of others --------------------------------------------------------------------


@pytest.mark.parametrize("runs", [2, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("layout", "at_once"),
    [
        ("aaa", False),
        ("cbac", False),
        ("abcabc", False),
        ("aaaaaa", True),
        *(pytest.param(each, False, marks=pytest.mark.slow) for each in ("ba", "baba")),
    ],
)
def test_no_value_is_older_than_the_values_it_is_made_of(
    layout: str, at_once: bool, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each server of ``layout`` has an entry, made of the one before. While a writer invalidates
    all of them, others call any of them and invalidate some, and keys are evicted. ``at_once``: a
    server deletes many generations in one step, as Redis does."""
    monkeypatch.setattr(ServerStore, "deletes_at_once", at_once)
    servers = "".join(sorted(set(layout)))
    entries = [
        entry_on(server, servers, number, (TAG, OTHER)[number % 2])
        for number, server in enumerate(layout)
    ]
    served = 0
    for seed in range(runs):
        run = Run(monkeypatch, entries, servers=servers)
        run.steps = Interruptions(random.Random(seed), _others(run, random.Random(seed)))
        for _ in range(3):
            run.write(frozenset((TAG, OTHER)))
        run.steps = Undisturbed()
        for number in range(len(entries)):
            run.call(number)
        served += run.served
    assert served > 100, "the runs share values"


@pytest.mark.parametrize("runs", [150, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "layout", [*(pytest.param(each, marks=pytest.mark.slow) for each in ("a", "ba")), "aba"]
)
def test_no_value_is_older_than_the_rows_that_its_queries_read(
    layout: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = "".join(sorted(set(layout)))
    entries = [entry_on(server, servers, number) for number, server in enumerate(layout)]
    served = 0
    for seed in range(runs):
        run = RunOfQueries(monkeypatch, entries, servers=servers)
        run.play(random_order(seed), 1000, 3, frozenset((tag_scope(TABLE),)))
        served += run.served
    assert served > 20, "the runs share values"


def test_generations_that_are_noted_after_the_read_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = RunOfQueries._read

    def read_first(self: RunOfQueries, number: int) -> int:
        value = self.truth
        self.steps.pause()
        read(self, number)
        return value

    monkeypatch.setattr(RunOfQueries, "_read", read_first)
    with pytest.raises(AssertionError):
        test_no_value_is_older_than_the_rows_that_its_queries_read("a", 150, monkeypatch)


class FailsInTheSecondRound:
    """Evicts the tombstones of server a before server b is invalidated; then a caller loads. When b
    is invalidated, a fails."""

    def __init__(self, run: Run) -> None:
        self._run, self._evicted = run, False

    def pause(self, *, waiting: bool = False) -> None:
        tombstones = {at for at, item in self._run.held.items() if len(item.value) == TOMBSTONE}
        on_a = {at for at in tombstones if at[0] == "a"}
        if not self._evicted and len(on_a) == 2:
            self._evicted = True
            for at in on_a:
                del self._run.held[at]
            self._run.steps = Undisturbed()
            self._run.call()
            self._run.steps = self
        elif self._evicted and len(tombstones) == 2:
            self._run.down = {"a"}


def test_a_server_that_fails_in_the_second_round_keeps_no_stale_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(
        monkeypatch, [entry_on("b", "ab", 0, TAG), entry_on("a", "ab", 1, OTHER)], servers="ab"
    )
    run.call()
    run.steps = FailsInTheSecondRound(run)
    run.write(frozenset((TAG, OTHER)))
    assert run.down == {"a"}
    run.steps, run.down = Undisturbed(), set()
    run.call()


class FailsInTheFirstRound:
    """Lets server a fail when it is invalidated, and recover before b is invalidated; then a caller
    loads."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pauses = 0

    def pause(self, *, waiting: bool = False) -> None:
        self._pauses += 1
        if self._pauses == 2:  # the first is the writer's own
            self._run.down = {"a"}
        elif self._pauses == 3:
            self._run.down = set()
            self._run.steps = Undisturbed()
            self._run.call()
            self._run.steps = self


def test_a_server_that_fails_in_the_first_round_keeps_no_stale_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(
        monkeypatch, [entry_on("b", "ab", 0, TAG), entry_on("a", "ab", 1, OTHER)], servers="ab"
    )
    run.call()
    run.steps = steps = FailsInTheFirstRound(run)
    run.write(frozenset((TAG, OTHER)))
    assert steps._pauses > 3
    run.steps = Undisturbed()
    run.call()


class FailsWhenAnotherHasEnded:
    """Evicts the tombstones of b, and loads from b before c is invalidated. After a's second
    round, the entry on a is loaded from b's, and b fails."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ways = self._go()

    def pause(self, *, waiting: bool = False) -> None:
        next(self._ways, None)

    def _tombstones(self, server: str) -> list[str]:
        return [
            at
            for at, item in self._run.held.items()
            if at[0] == server and len(item.value) == TOMBSTONE
        ]

    def _call(self, number: int) -> None:
        self._run.steps = Undisturbed()
        self._run.call(number)
        self._run.steps = self

    def _go(self) -> Iterator[None]:
        while len(self._tombstones("b")) < 2:
            yield
        yield  # b sends its answer
        for at in self._tombstones("b"):
            del self._run.held[at]
        self._call(1)
        while len(self._tombstones("c")) < 2:
            yield
        while self._tombstones("a"):
            yield
        self._call(2)
        self._run.down = {"b"}


def test_other_processes_keep_no_stale_value_of_a_server_that_fails_in_the_second_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [
        entry_on(server, "abc", number, (TAG, OTHER)[number % 2])
        for number, server in enumerate("cba")
    ]
    run = Run(monkeypatch, entries, servers="abc")
    run.call()
    run.steps = FailsWhenAnotherHasEnded(run)
    run.write(frozenset((TAG, OTHER)))
    assert run.down == {"b"}
    run.steps, run.down = Undisturbed(), set()
    run.call()


def _play_while_servers_fail(layout: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> Run:
    """As above, but servers also fail, each for some steps."""
    servers = "".join(sorted(set(layout)))
    entries = [
        entry_on(server, servers, number, (TAG, OTHER)[number % 2])
        for number, server in enumerate(layout)
    ]
    run = Run(monkeypatch, entries, servers=servers)
    chance = random.Random(seed)

    def fail() -> None:
        run.down ^= {chance.choice(servers)}

    run.steps = Interruptions(random.Random(seed), [*_others(run, chance), fail])
    for _ in range(3):
        run.write(frozenset((TAG, OTHER)))
    run.steps, run.down = Undisturbed(), set()
    for number in range(len(entries)):
        run.call(number)
    return run


@pytest.mark.parametrize("layout", ["ba", pytest.param("cba", marks=pytest.mark.slow), "cbac"])
def test_no_value_is_stale_while_servers_fail(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [_play_while_servers_fail(layout, seed, monkeypatch) for seed in range(20)]
    assert sum(run.served for run in runs) > 20, "the runs share values"


def test_the_model_finds_a_failed_server_that_is_invalidated_too_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_generations, "_keep_again", lambda failing: None)
    with pytest.raises(AssertionError):
        list(map(partial(_play_while_servers_fail, "cbac", monkeypatch=monkeypatch), range(40)))


def _others(run: Run, chance: random.Random) -> list[Callable[[], object]]:
    """Return the possible disturbances. There are fewer of them, except calls, than make a writer
    give up."""
    left = chance.randrange(server_generations.TRIES - 1)

    def at_most(action: Callable[[], object]) -> Callable[[], None]:
        def act() -> None:
            nonlocal left
            if left:
                left -= 1
                action()

        return act

    def evict() -> None:
        for key in chance.sample(sorted(run.held), min(1, len(run.held))):
            del run.held[key]

    calls = [partial(run.call, number) for number in range(len(run.entries))]
    disturbing: list[Callable[[], object]] = [
        partial(run.region.invalidate, frozenset((OTHER,))),
        partial(run.region.invalidate, frozenset((TAG,))),
        partial(run.write, frozenset((TAG, OTHER))),
        evict,
    ]
    return [*calls * 3, *map(at_most, disturbing)]
