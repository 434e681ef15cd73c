"""What a Redis or Valkey server says of itself (INFO)."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from redis.connection import AbstractConnection
from redis.exceptions import RedisError

from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.redis.addresses import Address
from beaker_regions.stores.redis.link import wrong_type
from beaker_regions.telemetry import units

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
    "cluster": ("cluster_enabled",),
    "cluster_state": ("cluster_state",),
}
"""The names in the answer, by those that memcached has."""
_MASTER = re.compile(r"^\w+ (\S*):(\d+)@\S* (?:myself,)?master ", re.MULTILINE)
"""A line of CLUSTER NODES: a master that works."""


def status(name: str, make: Callable[[], AbstractConnection]) -> dict[str, str]:
    """Return the status of a server, as `ServerStore.status`. Raises StoreUnavailableError."""
    started = time.monotonic()
    try:
        answer = _asked(make, "INFO")
        if "cluster_enabled:1" in answer:
            answer += _asked(make, "CLUSTER", "INFO")
    except (RedisError, OSError) as error:
        raise StoreUnavailableError("server", f"redis {name}: {error}") from error
    said = dict(re.findall(r"^(\w+):(.*?)\r?$", answer, re.MULTILINE))
    found = {
        ours: next(said[each] for each in theirs if each in said)
        for ours, theirs in _NAMES.items()
        if not said.keys().isdisjoint(theirs)
    }
    found["curr_items"] = str(sum(map(int, re.findall(r"^db\d+:keys=(\d+)", answer, re.M))))
    return found | {"answered_in": f"{time.monotonic() - started:.6f}"}


def masters(
    nodes: Iterable[Address], make: Callable[[Address], AbstractConnection]
) -> list[Address]:
    """Return the masters of a cluster, as the first of ``nodes`` that answers knows them."""
    for node in nodes:
        with contextlib.suppress(RedisError, OSError):
            found = _MASTER.findall(_asked(partial(make, node), "CLUSTER", "NODES"))
            return [(host or node[0], int(port)) for host, port in found]
    return []


def _asked(make: Callable[[], AbstractConnection], *words: str) -> str:
    connection = make()
    try:
        connection.connect()
        connection.send_command(*words)
        answer: bytes = connection.read_response(disable_decoding=True)
        return answer.decode()
    finally:
        connection.disconnect()


def remarks(status: Mapping[str, str], *, in_cluster: bool) -> list[tuple[str, str]]:
    """Return what is wrong with a server, as `ServerStore.remarks`."""
    found = []
    if in_cluster != (status.get("cluster") == "1"):
        found.append(("error", wrong_type(in_cluster)))
    if status.get("cluster_state", "ok") != "ok":
        found.append(("error", "its cluster is down: not every hash slot has a master"))
    if status.get("role", "master") != "master" and not in_cluster:
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
