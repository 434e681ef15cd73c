"""What a Redis or Valkey server says of itself (INFO)."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from beaker_regions.errors import StoreUnavailableError
from beaker_regions.telemetry import units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.connection import AbstractConnection

_NAMES = {
    "version": ("valkey_version", "redis_version"),
    "bytes": ("used_memory",),
    "limit_maxbytes": ("maxmemory",),
    "evictions": ("evicted_keys",),
    "curr_connections": ("connected_clients",),
    "get_hits": ("keyspace_hits",),
    "get_misses": ("keyspace_misses",),
    "policy": ("maxmemory_policy",),
    "role": ("role",),
}
"""The names in the answer, by those that memcached has."""


def status(name: str, make: Callable[[], AbstractConnection]) -> dict[str, str]:
    """Return the status of a server, as `ServerStore.status`. Raises StoreUnavailableError."""
    started, connection = time.monotonic(), make()
    try:
        connection.connect()
        connection.send_command("INFO")
        answer = connection.read_response(disable_decoding=True).decode()
    except (RedisError, OSError) as error:
        raise StoreUnavailableError("server", f"redis {name}: {error}") from error
    finally:
        connection.disconnect()
    said = dict(re.findall(r"^(\w+):(.*?)\r?$", answer, re.MULTILINE))
    found = {
        ours: next(said[each] for each in theirs if each in said)
        for ours, theirs in _NAMES.items()
        if not said.keys().isdisjoint(theirs)
    }
    found["curr_items"] = str(sum(map(int, re.findall(r"^db\d+:keys=(\d+)", answer, re.M))))
    return found | {"answered_in": f"{time.monotonic() - started:.6f}"}


def remarks(status: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what is wrong with a server, as `ServerStore.remarks`."""
    found = []
    if status.get("role", "master") != "master":
        found.append(("error", "is a replica, and is not read: name the master in the option url"))
    limit, policy = int(status.get("limit_maxbytes", 0)), status.get("policy", "")
    if not limit:
        found.append(("warning", "maxmemory is not set: it may take all memory of its machine"))
    elif policy == "noeviction":
        mend = "set maxmemory-policy to allkeys-lru"
        found.append(("warning", f"stores nothing new once its memory is full: {mend}"))
    elif policy.startswith("volatile"):
        mend = "entries without expiry and generations stay; allkeys-lru removes what is not used"
        found.append(("warning", f"maxmemory-policy is {policy}: {mend}"))
    if limit and int(status.get("bytes", 0)) > 0.9 * limit and policy == "noeviction":
        found.append(("error", f"is nearly full: {units.size(limit)}"))
    if evicted := int(status.get("evictions", 0)):
        found.append(("warning", f"has evicted {evicted} keys for lack of memory"))
    return found
