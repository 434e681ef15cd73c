"""Generations on memcached servers: made where one is missing, changed all as if at one moment.

A value may be made of others, which lie on other servers: a page of fragments, these of what
functions return. Were servers told of an invalidation one after the other, a page that begins to
load on one that was told, and is made of a value on one that was not yet, would be old, stored,
and current. So there are two rounds. The first puts an *announcement* in the place of every
generation: no record matches one, and no load that begins while it is there can be stored. The
second puts a new generation in the place of every announcement.

**Why nothing that is stored is old, of however many values it is made.** A load that can be stored
begins with new generations, so after the end of the first round. What it finds stored then, on
whatever server, under whichever of the scopes, matches new generations too, and was begun no
sooner; and so on, down to what was loaded from what has changed.

An announcement may be gone before the second round: another invalidation of the same scope came
later and ended sooner, the server evicted it, or it ran out while this process was stopped. Who
finds no announcement begins anew; who finds another's leaves it to the other, whose first round
ends after this one's.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from regions.backends.memcached_connection import exptime_of
from regions.backends.memcached_server import key_of
from regions.errors import StoreUnavailable
from regions.records import GENERATION_SIZE
from regions.store import SETTLING, is_entry_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from regions.backends.memcached_connection import Connection
    from regions.backends.memcached_server import Server

_SIGN = b"!"
_ANNOUNCEMENT_SIZE = len(_SIGN) + GENERATION_SIZE
"""Bytes; by its size everybody knows that it is no generation."""
ANNOUNCED, FOR_EACH = 1.0, 0.001
"""Seconds for which an announcement stays, at the least, of a process that does not come back, and
as many more for each that is made: many times what both rounds take, time-outs included."""
TRIES = 10
"""Times that both rounds are made, at the most: each takes another invalidation of the same scope
that began later and ended sooner."""


class Announcement(NamedTuple):
    """What stands in the place of a generation between the two rounds; another one each time."""

    value: bytes
    exptime: int
    """As memcached takes it."""


def change(
    spread: Mapping[Server, Sequence[str]], meanwhile: Callable[[], None] | None = None
) -> dict[Server, StoreUnavailable]:
    """Give names new generations on their servers; call ``meanwhile`` between the two rounds.
    Returns the servers that could not be told, and owe it."""
    failures: dict[Server, StoreUnavailable] = {}
    # One entry alone is made of nothing that is invalidated with it: then one round will do.
    one_round = meanwhile is None and _is_one_entry(spread)
    # Those that are away first: nobody has to wait for an announcement while they time out.
    servers = sorted(spread, key=lambda server: not server.is_away)
    exptime = exptime_of(ANNOUNCED + FOR_EACH * sum(map(len, spread.values())))
    for _ in range(TRIES):
        announcement = Announcement(_SIGN + os.urandom(GENERATION_SIZE), exptime)
        announced = []
        for server in servers:
            names = spread[server]
            # The very last one is changed at once: everything else was announced before.
            at_once = server is servers[-1] and meanwhile is None
            count = 0 if one_round else len(names) - at_once
            try:
                server.change(names, partial(_announce, announcement, names, count))
            except StoreUnavailable as error:
                failures[server] = error
            else:
                announced.append((server, names[:count]))
        if meanwhile is not None:
            meanwhile()
        stayed = [_end(announcement, *each) for each in announced]
        if all(stayed):
            break
        servers = [server for server in servers if server not in failures]
    return failures


def _is_one_entry(spread: Mapping[Server, Sequence[str]]) -> bool:
    names = {name for names in spread.values() for name in names}
    return len(names) == 1 and is_entry_scope(*names)


def _announce(
    announcement: Announcement, names: Sequence[str], count: int, connection: Connection
) -> None:
    """Put an announcement in the place of the first ``count`` generations; delete the others: one
    that is not there matches no record, and the next load makes it."""
    for at, key in enumerate(map(key_of, names)):
        if at >= count or not connection.set(key, *announcement):
            connection.delete(key)


def _end(announcement: Announcement, server: Server, names: Sequence[str]) -> bool:
    """Put new generations in the place of an announcement; return whether it was still there."""

    def end(connection: Connection) -> bool:
        stayed = True
        for key in map(key_of, names):
            found = connection.gets(key)
            if found is None or len(found.value) == GENERATION_SIZE:
                connection.delete(key)
                stayed = False
            elif found.value == announcement.value:
                connection.cas(key, os.urandom(GENERATION_SIZE), 0, found)
        return stayed

    if not names:
        return True
    try:
        return server.ask(end)
    except StoreUnavailable:
        # It was told, and an announcement ends by itself.
        return True


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
