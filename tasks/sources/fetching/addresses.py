"""Public and private addresses of hosts."""

from __future__ import annotations

import functools
import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


@functools.lru_cache(1024)
def is_public(address: str) -> bool:
    """Whether an IP address is public: the same host for all of the internet."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed in _NAT64:
            parsed = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        else:
            parsed = parsed.ipv4_mapped or parsed.sixtofour or parsed
    if isinstance(parsed, ipaddress.IPv6Address) and parsed not in _GLOBAL_UNICAST:
        return False  # a local address, or another form of an IPv4 address
    return parsed.is_global and not parsed.is_multicast


def is_private_name(host: str) -> bool:
    """Whether a host of a URL is localhost, or a private address, without asking for its name."""
    host = host.strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # Resolvers also accept 127.1, 2130706433 and 0x7f000001 as addresses.
        number = host[-1:].isdecimal() or host.rpartition(".")[2].startswith("0x")
        return host == "localhost" or host.endswith(".localhost") or number
    return not is_public(host)
