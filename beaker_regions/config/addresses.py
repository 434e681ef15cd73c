"""The addresses of servers in the configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from beaker_regions.errors import nearest

_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)"
_SERVER = re.compile(
    rf"(?:(?P<unix>unix:/[^?]+)|(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?)"
    r"(?:\?weight=(?P<weight>\d+(?:\.\d+)?))?\Z"
)


def servers(value: Any) -> tuple[tuple[str, float], ...]:
    """Return the addresses and weights of servers.

    ``value`` is a text of addresses, separated by semicolons, commas or spaces, or a list of
    addresses or of pairs of address and weight. An address is ``host:port``, ``[IPv6]:port`` or
    ``unix:/path``, and may end in ``?weight=2``. The weight 0 is for a server that is about to be
    added or removed. Raises ValueError with the address that cannot be used.
    """
    given = re.split(r"[;,\s]+", value.strip()) if isinstance(value, str) else value
    return _checked(given, _server, "127.0.0.1:11211")


def _checked(
    given: Any, server: Callable[..., tuple[str, float]], example: str
) -> tuple[tuple[str, float], ...]:
    """Return what ``server`` makes of each address, or pair of address and weight."""
    wanted = [each if isinstance(each, tuple) else (each,) for each in given or () if each]
    found = dict(server(*each) for each in wanted)
    if not found:
        raise ValueError(f"name at least one server, such as {example}")
    if not any(found.values()):
        raise ValueError("a server of weight 0 stores nothing: give another server a higher weight")
    if len({without_password(each) for each in found}) < len(wanted):
        raise ValueError("the same server is named twice")
    return tuple(found.items())


def _server(address: Any, weight: Any = None) -> tuple[str, float]:
    match = _SERVER.match(address) if isinstance(address, str) else None
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(
            f"{address!r} is not the address of a server; "
            f"write host:port, [IPv6]:port or unix:/path"
        )
    weight = float(match["weight"] or 1) if weight is None else weight
    if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise ValueError(f"{address!r}: a weight is a number that is not negative")
    return match["unix"] or f"{match['host']}:{match['port'] or 11211}", float(weight)


_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
}
_USED = {"db", "socket_timeout", "username", "password", "ssl_ca_certs", "ssl_ca_path"}
_USED |= {"ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers"}
_WITHOUT_MEANING = {
    "max_connections",
    "health_check_interval",
    "socket_connect_timeout",
    "protocol",
}
_WITHOUT_MEANING |= {"retry_on_timeout", "decode_responses", "client_name", "socket_keepalive"}
"""Options of redis-py's that a configuration for Beaker may have, and that have no meaning here."""


def redis_servers(value: Any) -> tuple[tuple[str, float], ...]:
    """Return the URLs and weights of Redis or Valkey servers.

    ``value`` is a text of URLs, separated by commas or spaces, or a list of URLs or of pairs of
    URL and weight. A URL is ``redis://user:password@host:port/database``, ``rediss://`` with TLS,
    ``valkey://``, ``valkeys://``, or ``unix:///path``. It may have ``weight=2`` among its options.
    Raises ValueError, without the password.
    """
    given = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
    return _checked(given, _redis, "redis://127.0.0.1:6379")


def cluster_nodes(value: Any) -> tuple[tuple[str, float], ...]:
    """Return the URLs of nodes of a Redis Cluster, each with the weight 1.

    ``value`` is as for `redis_servers`, without weights, databases and sockets. User, password and
    options are those of all nodes. Raises ValueError, without the password.
    """
    found = redis_servers(value)
    for url, weight in found:
        parts = urlsplit(url)
        if parts.scheme == "unix" or parts.path not in ("", "/", "/0") or weight != 1:
            raise ValueError(
                f"{without_password(url)!r}: a node of a cluster has no socket, no database but 0, "
                "and no weight"
            )
    access = {
        (urlsplit(url).scheme, urlsplit(url).netloc.rpartition("@")[0], urlsplit(url).query)
        for url, _ in found
    }
    if len(access) > 1:
        raise ValueError("the nodes of a cluster have the same scheme, user, password and options")
    return found


def _redis(url: Any, weight: Any = None) -> tuple[str, float]:
    form = (
        "write redis://host:port/database, rediss://host:port or unix:///path, and escape the "
        "special characters of a password (%2F for a slash)"
    )
    if not isinstance(url, str):
        raise ValueError(f"{url!r} is not the URL of a server; {form}")
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text may have a part of the password
        raise ValueError(f"{shown!r} is not the URL of a server; {form}") from None
    place = parts.path if parts.scheme == "unix" else host
    if parts.scheme not in _SCHEMES or not place or parts.fragment:
        raise ValueError(f"{shown!r} is not the URL of a server; {form}")
    if parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError(f"{shown!r}: a database is a number, such as /0")
    options = dict(parse_qsl(parts.query))
    for option in options:
        if option not in _USED | _WITHOUT_MEANING | {"weight"}:
            raise ValueError(f"{shown!r}: {option}: {nearest(option, _USED | {'weight'})}")
    given = options.pop("weight", "1")
    try:
        weight = float(given) if weight is None else float(weight)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"{shown!r}: a weight is a number that is not negative")
    kept = {option: each for option, each in options.items() if option in _USED}
    query = f"?{urlencode(kept)}" if kept else ""
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path}{query}", weight


def without_password(text: str) -> str:
    """Return a text without the users and passwords of its URLs, even if these are not escaped."""
    text = re.sub(r"//\S*@", "//", text)
    return re.sub(r"(?<=[?&])(username|password)=[^&\s]*&?", "", text)
