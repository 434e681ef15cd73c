"""Generations on servers: missing ones are made, and an invalidation changes all at once.

A value may be made of other values on other servers: a page of fragments, and these of the results
of functions. If servers were invalidated one by one, a page could be built from a value on a server
that was not invalidated yet, and stored as current. So there are two rounds. The first replaces
every generation by a *tombstone*: no record matches it, and no load that begins while it is there
can be stored. The second replaces every tombstone by a new generation.

**Why no stored value is old, however many values it is made of.** A load that can be stored begins
with new generations, so after the end of the first round. A stored value that it finds then, on any
server and under any of the scopes, matches new generations too, so its load did not begin sooner.
The same holds for the values that this one is made of, down to the data that has changed.

A tombstone may be gone before the second round: another invalidation of the same scope came later
and ended sooner, the server evicted it, or it expired while this process was stopped. If there is
no tombstone, both rounds are made again. If there is another invalidation's tombstone, that
invalidation replaces it: its first round ends after this one's. After `TRIES` vain attempts the
generations are deleted instead: no record matches then.

If a server fails, the invalidation stays pending for it: its generations are deleted before
anything else is asked of it. It may work again at once, and a load there may use values on servers
that are not invalidated yet. So the same invalidation becomes pending once more after the first
round, before the second. A server that fails in the second round may have lost its tombstone, and
served a load, before the first round had ended on all others. So both rounds are made again on the
others.

All servers are asked at the same time, each with one message for all its generations, so a round
takes as long as its slowest server. The first round also fetches the stored tombstones. Their
numbers let a compare-and-set in the second round detect a lost tombstone.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from beaker_regions.engine.store import SETTLING
from beaker_regions.entries.entry import is_entry_scope
from beaker_regions.entries.records import GENERATION_SIZE
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.servers.connection import Connection, Halves, Item, at_once
from beaker_regions.stores.servers.server import Server

T = TypeVar("T")

_SIGN = b"!"
_TOMBSTONE_SIZE = len(_SIGN) + GENERATION_SIZE
"""Bytes; its size distinguishes it from a generation."""
TOMBSTONE_SECONDS, FOR_EACH = 1.0, 0.001
"""Seconds for which a tombstone stays at least if its process is killed, and additional seconds for
each generation: many times the duration of both rounds, time-outs included."""
SLOWER = 3
"""How many times the duration of both rounds is added when they are made again: tombstones may have
expired too early, as on a slow network."""
TRIES = 10
"""Attempts at both rounds, at most. Each further one is needed only if another invalidation of the
same scope began later and ended sooner, or a tombstone was lost."""


class Tombstone(NamedTuple):
    """The item in the place of a generation between the two rounds; random each time."""

    value: bytes
    seconds: float
    """Its time to live."""


def change(
    spread: Mapping[Server, Sequence[str]],
    during: Callable[[], None] | None = None,
    *,
    deletes_at_once: bool = False,
) -> dict[Server, StoreUnavailableError]:
    """Give names new generations on their servers; call ``during`` between the two rounds.
    Returns the servers that failed, for which it is pending. ``deletes_at_once``: whether a server
    deletes all of them at one moment."""
    is_one = deletes_at_once and len(spread) == 1
    if during is None and (is_one or _is_one_moment(spread)):
        return _run(spread, _delete)[0]
    failures: dict[Server, StoreUnavailableError] = {}
    failing: dict[Server, Sequence[str]] = {}
    seconds = TOMBSTONE_SECONDS + FOR_EACH * sum(map(len, spread.values()))
    took = 0.0
    for _ in range(TRIES):
        value = _SIGN + os.urandom(GENERATION_SIZE)
        tombstone = Tombstone(value, seconds + SLOWER * took)
        started = time.monotonic()
        failed, placed = _run(spread, partial(_put_tombstone, tombstone))
        failures |= failed
        failing |= {server: spread[server] for server in failed}
        if during is not None:
            during()
        _keep_again(failing)
        failed, stayed = _answers(
            {
                server: server.changing(spread[server], partial(_end, tombstone, items))
                for server, items in placed.items()
            }
        )
        failures |= failed
        if not failed and all(stayed.values()):
            return failures
        failing |= {server: spread[server] for server in failed}
        spread = {server: spread[server] for server in stayed}
        took = time.monotonic() - started
    failed, _ = _run(spread, _delete)
    _keep_again(failing)
    return failures | failed


def _keep_again(failing: Mapping[Server, Sequence[str]]) -> None:
    """Make the invalidation pending once more on servers that failed. It may have been applied
    there already, before the others were invalidated, and values may have been loaded since."""
    for server, names in failing.items():
        server.keep_pending(names)


def _is_one_moment(spread: Mapping[Server, Sequence[str]]) -> bool:
    """Return whether deleting is enough: there is only one generation, or all are of one entry,
    which is not made of anything that is invalidated with it."""
    names = [name for names in spread.values() for name in names]
    return len(names) == 1 or (len(set(names)) == 1 and is_entry_scope(names[0]))


def _run(
    spread: Mapping[Server, Sequence[str]], command: Callable[[list[str], Connection], Halves[T]]
) -> tuple[dict[Server, StoreUnavailableError], dict[Server, T]]:
    """Run ``command`` with the keys of each server, on all at once. Returns the servers that
    failed, for which it is pending, and the answers of the others."""
    failures: dict[Server, StoreUnavailableError] = {}
    answers: dict[Server, T] = {}
    # Servers that are away first: no caller then waits for a tombstone while they time out.
    away = [server for server in spread if server.is_away]
    for some in (away, [server for server in spread if server not in away]):
        failed, found = _answers(
            {
                server: server.changing(
                    spread[server], partial(command, list(map(server.key_of, spread[server])))
                )
                for server in some
            }
        )
        failures |= failed
        answers |= found
    return failures, answers


def _answers(
    requests: Mapping[Server, Halves[T]],
) -> tuple[dict[Server, StoreUnavailableError], dict[Server, T]]:
    """Make requests at once. Returns the failures of some, and the answers of the others."""
    failures: dict[Server, StoreUnavailableError] = {}
    answers: dict[Server, T] = {}
    for server, answer in at_once(requests).items():
        if isinstance(answer, StoreUnavailableError):
            failures[server] = answer
        else:
            answers[server] = answer
    return failures, answers


def _delete(keys: list[str], connection: Connection) -> Halves[None]:
    # A missing generation matches no record, and the next load makes it.
    return connection.deleting(keys)


def _put_tombstone(
    tombstone: Tombstone, keys: list[str], connection: Connection
) -> Halves[dict[str, Item | None]]:
    """Replace generations by a tombstone, or delete them if the server does not take it.
    Returns the stored tombstone by key, or None if it is already gone."""
    found = yield from connection.setting(keys, *tombstone)
    return {
        key: item if (item := found.get(key)) and item.value == tombstone.value else None
        for key in keys
    }


def _end(
    tombstone: Tombstone, placed: Mapping[str, Item | None], connection: Connection
) -> Halves[bool]:
    """Replace a tombstone by new generations; return whether it was still there."""
    ours = {key: item for key, item in placed.items() if item is not None}
    others = [key for key, item in placed.items() if item is None]
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
            connection.cas(key, os.urandom(GENERATION_SIZE), math.inf, found)
    return stayed


def complete(
    connection: Connection, found: dict[str, bytes], generations: Sequence[str]
) -> dict[str, bytes]:
    """Make the missing ones of ``generations``; return all items that are found then. Waits a
    moment for generations that are being changed."""
    for pause in SETTLING:
        for key in generations:
            if key not in found:
                generation = os.urandom(GENERATION_SIZE)
                if connection.add(key, generation, math.inf):
                    found[key] = generation
        changed = [key for key in generations if len(found.get(key, b"")) == _TOMBSTONE_SIZE]
        # If several callers made one, one of them was first: fetch it.
        lost = [key for key in generations if key not in found]
        if not changed and not lost:
            break
        if changed:
            time.sleep(pause)
        for key in changed:
            del found[key]
        found |= connection.get([*changed, *lost])
    return found
