"""Generations on memcached servers: made where one is missing, changed all as if at one moment.

A value may be made of others, which lie on other servers: a page of fragments, these of what
functions return. Were servers told of an invalidation one after the other, a page that begins to
load on one that was told, and is made of a value on one that was not yet, would be old, stored,
and current. So there are two rounds. The first puts a *tombstone* in the place of every
generation: no record matches one, and no load that begins while it is there can be stored. The
second puts a new generation in the place of every tombstone.

**Why nothing that is stored is old, of however many values it is made.** A load that can be stored
begins with new generations, so after the end of the first round. What it finds stored then, on
whatever server, under whichever of the scopes, matches new generations too, and was begun no
sooner; and so on, down to what was loaded from what has changed.

A tombstone may be gone before the second round: another invalidation of the same scope came
later and ended sooner, the server evicted it, or it ran out while this process was stopped. Who
finds no tombstone begins anew; who finds another's leaves it to the other, whose first round
ends after this one's. Who has begun anew often enough in vain deletes the generations instead: no
record matches then.

A server that fails owes the invalidation: its generations are deleted before it is asked for
anything else. It may be well again at once, and values be loaded there that are made of what the
others have not been told of yet. So it owes the same once more, when all others have been told and
before the second round. A server that fails in the second round may have lost its tombstone, and
have been loaded from, before the first one had ended on all others. So these begin anew.

All servers are told at the same time, each of all its generations in one message, so a round takes
as long as its slowest server. The first round fetches what it has stored: so a compare-and-set in
the second says whether a tombstone has stayed.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from beaker_regions.engine.store import SETTLING
from beaker_regions.entries.entry import is_entry_scope
from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.memcached.connection import at_once, exptime_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from beaker_regions.stores.memcached.connection import Connection, Halves, Item
    from beaker_regions.stores.memcached.server import Server

T = TypeVar("T")

_SIGN = b"!"
_ANNOUNCEMENT_SIZE = len(_SIGN) + GENERATION_SIZE
"""Bytes; by its size everybody knows that it is no generation."""
ANNOUNCED, FOR_EACH = 1.0, 0.001
"""Seconds for which a tombstone stays, at the least, of a process that does not come back, and
as many more for each that is made: many times what both rounds take, time-outs included."""
SLOWER = 3
"""How many times the duration of both rounds is added when they are made again: tombstones had
ended before their time, as they do on a slow network."""
TRIES = 10
"""Times that both rounds are made, at the most: each takes another invalidation of the same scope
that began later and ended sooner."""


class Tombstone(NamedTuple):
    """What stands in the place of a generation between the two rounds; another one each time."""

    value: bytes
    exptime: int
    """As memcached takes it."""


def change(
    spread: Mapping[Server, Sequence[str]], during: Callable[[], None] | None = None
) -> dict[Server, StoreUnavailableError]:
    """Give names new generations on their servers; call ``during`` between the two rounds.
    Returns the servers that could not be told, and owe it."""
    if during is None and _is_one_moment(spread):
        return _tell(spread, _delete)[0]
    failures: dict[Server, StoreUnavailableError] = {}
    owing: dict[Server, Sequence[str]] = {}
    seconds = ANNOUNCED + FOR_EACH * sum(map(len, spread.values()))
    took = 0.0
    for _ in range(TRIES):
        exptime = exptime_of(seconds + SLOWER * took)
        tombstone = Tombstone(_SIGN + os.urandom(GENERATION_SIZE), exptime)
        started = time.monotonic()
        failed, announced = _tell(spread, partial(_announce, tombstone))
        failures |= failed
        owing |= {server: spread[server] for server in failed}
        if during is not None:
            during()
        _again(owing)
        failed, stayed = _answers(
            {
                server: server.changing(spread[server], partial(_end, tombstone, items))
                for server, items in announced.items()
            }
        )
        failures |= failed
        if not failed and all(stayed.values()):
            return failures
        owing |= {server: spread[server] for server in failed}
        spread = {server: spread[server] for server in stayed}
        took = time.monotonic() - started
    failed, _ = _tell(spread, _delete)
    _again(owing)
    return failures | failed


def _again(owing: Mapping[Server, Sequence[str]]) -> None:
    """Let servers that failed owe it once more: what they owed may have been delivered already, and
    values be loaded there since, made of what the others had not been told of yet."""
    for server, names in owing.items():
        server.keep_pending(names)


def _is_one_moment(spread: Mapping[Server, Sequence[str]]) -> bool:
    """Whether deleting will do: there is one generation alone, or all are of one entry, which is
    made of nothing that is invalidated with it."""
    names = [name for names in spread.values() for name in names]
    return len(names) == 1 or (len(set(names)) == 1 and is_entry_scope(names[0]))


def _tell(
    spread: Mapping[Server, Sequence[str]],
    command: Callable[[list[str], Connection], Halves[T]],
) -> tuple[dict[Server, StoreUnavailableError], dict[Server, T]]:
    """Do ``command`` with the keys of each server, on all at once. Returns the servers that failed,
    and owe it, and what it returned for the others."""
    failures: dict[Server, StoreUnavailableError] = {}
    answers: dict[Server, T] = {}
    # Those that are away first: nobody has to wait for a tombstone while they time out.
    away = [server for server in spread if server.is_away]
    for some in (away, [server for server in spread if server not in away]):
        failed, told = _answers(
            {
                server: server.changing(
                    spread[server], partial(command, list(map(server.key_of, spread[server])))
                )
                for server in some
            }
        )
        failures |= failed
        answers |= told
    return failures, answers


def _answers(
    requests: Mapping[Server, Halves[T]],
) -> tuple[dict[Server, StoreUnavailableError], dict[Server, T]]:
    """Make requests at once. Returns how some failed, and what the others have returned."""
    failures: dict[Server, StoreUnavailableError] = {}
    answers: dict[Server, T] = {}
    for server, answer in at_once(requests).items():
        if isinstance(answer, StoreUnavailableError):
            failures[server] = answer
        else:
            answers[server] = answer
    return failures, answers


def _delete(keys: list[str], connection: Connection) -> Halves[None]:
    # One that is not there matches no record, and the next load makes it.
    return connection.deleting(keys)


def _announce(
    tombstone: Tombstone, keys: list[str], connection: Connection
) -> Halves[dict[str, Item | None]]:
    """Put a tombstone in the place of generations, or nothing where the server takes none.
    Returns it by key; None where it does not lie there any more."""
    found = yield from connection.setting(keys, *tombstone)
    return {
        key: item if (item := found.get(key)) and item.value == tombstone.value else None
        for key in keys
    }


def _end(
    tombstone: Tombstone, announced: Mapping[str, Item | None], connection: Connection
) -> Halves[bool]:
    """Put new generations in the place of a tombstone; return whether it was still there."""
    ours = {key: item for key, item in announced.items() if item is not None}
    others = [key for key, item in announced.items() if item is None]
    if ours:
        fresh = {key: os.urandom(GENERATION_SIZE) for key in ours}
        others += yield from connection.replacing(fresh, ours)
    stayed = True
    for key in others:
        found = connection.gets(key)
        if found is None or len(found.value) == GENERATION_SIZE:
            connection.delete(key)
            stayed = False
        elif found.value == tombstone.value:
            connection.cas(key, os.urandom(GENERATION_SIZE), 0, found)
    return stayed


def complete(
    connection: Connection, found: dict[str, bytes], generations: Sequence[str]
) -> dict[str, bytes]:
    """Make those of ``generations`` that are not found; return all that is found then. Those that
    are being changed are waited for a moment."""
    for pause in SETTLING:
        for key in generations:
            if key not in found:
                generation = os.urandom(GENERATION_SIZE)
                if connection.add(key, generation, 0):
                    found[key] = generation
        changed = [key for key in generations if len(found.get(key, b"")) == _ANNOUNCEMENT_SIZE]
        # Where several made one, one won: ask which.
        lost = [key for key in generations if key not in found]
        if not changed and not lost:
            break
        if changed:
            time.sleep(pause)
        for key in changed:
            del found[key]
        found |= connection.get([*changed, *lost])
    return found
