"""Choice of an entry's server: rendezvous hashing.

Each server gets a score for each entry, and the highest wins; so adding a server to N moves
about 1/(N+1) of the entries, all of them to it, and no server's share is far from the others'
(Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions
on Networking 6(1), 1998). An entry never moves because a server is away.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping


def choose(weights: Mapping[str, float], address: bytes) -> str:
    """Return the server for the entry at ``address``, from one or more servers with weights. A
    server's share of all entries is its share of the weights.

    Weights as in Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005.
    """
    if len(weights) == 1:
        return next(iter(weights))
    return max(weights, key=lambda server: (weights[server] * _score(server, address), server))


def places(weights: Mapping[str, float], address: bytes) -> list[str]:
    """Return every server on which some host may have the entry at ``address``: this host; hosts
    without the first choice on their list; and hosts that use a server of weight 0 here."""
    first = choose(weights, address)
    others = {server: weight for server, weight in weights.items() if server != first}
    used = {server: weight for server, weight in others.items() if weight}
    second = [choose(used, address)] if used else []
    return [first, *second, *others.keys() - used.keys()]


def _score(server: str, address: bytes) -> float:
    # CRC-32 is linear: servers' scores would be one another's, shifted. Mix it (murmur3's end).
    number = zlib.crc32(address, zlib.crc32(server.encode()))
    number = (number ^ number >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    number = (number ^ number >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return -1 / math.log(((number ^ number >> 16) + 0.5) / 2**32)
