"""The connections of this process, which threads share. The environment may name proxies.

A redirect from a public address may lead only to public addresses. So no server on the internet can
make this host fetch files that only this host, or its network, can reach. The address is checked
when the connection is made, whatever a name was resolved to before.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ProxySchemeUnknown
from urllib3.util import make_headers

from tasks.sources.fetching.access import Access
from tasks.sources.fetching.urls import BadUrlError, parsed_url

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Seconds without a byte after which a request fails."""
_CONNECTIONS = 64
"""The most connections to one host, as many as there can be downloads at once."""


_HEADERS = {
    # Not compressed: digests and byte ranges are those of the content itself.
    "Accept-Encoding": "identity",
    "User-Agent": "regions-import",
}
_UNREAD: dict[str, Any] = {"redirect": False, "preload_content": False, "decode_content": False}


class PrivateAddressError(HTTPError):
    """A redirect from a public server led to an address that is not public."""


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


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


class _Peer:
    """A connection that remembers the address of its server."""

    peer: str | None = None
    """The server's address."""

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        self.peer = connected.getpeername()[0]
        return connected


class _PublicPeer(_Peer):
    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        if not is_public(self.peer or ""):
            connected.close()
            raise PrivateAddressError
        return connected


class _Plain(_Peer, HTTPConnection):
    pass


class _Encrypted(_Peer, HTTPSConnection):
    pass


class _PublicPlain(_PublicPeer, HTTPConnection):
    pass


class _PublicEncrypted(_PublicPeer, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls: Any = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls: Any = _Encrypted


class _PublicPlainPool(HTTPConnectionPool):
    ConnectionCls: Any = _PublicPlain


class _PublicEncryptedPool(HTTPSConnectionPool):
    ConnectionCls: Any = _PublicEncrypted


class _Pools:
    """The connections of this process. A child process makes its own."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Forget all connections."""
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}

    def manager(self, proxy: str | None, *, public: bool) -> urllib3.PoolManager:
        """Return the connections through ``proxy``, a URL, or without one; to public addresses
        only, or to all. Raises BadUrlError for a proxy of another kind."""
        key = proxy, public and proxy is None
        if key not in self._managers:
            self._managers[key] = _manager(*key)
        return self._managers[key]


def _manager(proxy: str | None, public: bool) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "ca_certs": _access.authorities,
        "maxsize": _CONNECTIONS,
        "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        "retries": False,
    }
    if proxy is None:
        manager = urllib3.PoolManager(**options)
        plain, encrypted = (
            (_PublicPlainPool, _PublicEncryptedPool) if public else (_PlainPool, _EncryptedPool)
        )
        manager.pool_classes_by_scheme = {"http": plain, "https": encrypted}
        return manager
    parsed = parsed_url(proxy if "://" in proxy else f"http://{proxy}")
    if parsed.auth:
        options["proxy_headers"] = make_headers(proxy_basic_auth=unquote(parsed.auth))
    try:
        return urllib3.ProxyManager(parsed._replace(auth=None).url, **options)
    except ProxySchemeUnknown:
        raise BadUrlError(
            f"needs a proxy of the kind {parsed.scheme!r}, as the environment says (HTTP_PROXY, "
            "HTTPS_PROXY, ALL_PROXY); only http and https proxies are supported"
        ) from None


_pools = _Pools()
_access = Access()


def use_access(access: Access) -> None:
    """Give servers what they ask for, from now on, in this process."""
    global _access
    _access = access
    _pools.reset()


_PROXIES = tuple(
    each
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for each in (name, name.upper())
)


@functools.lru_cache(1)
def _proxies(_: tuple[str | None, ...]) -> dict[str, str]:
    """Return the proxies that the environment names, for these values of `_PROXIES`: to read the
    whole environment takes a tenth of a request's time."""
    return getproxies()


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for a URL (``HTTP_PROXY``, ``HTTPS_PROXY``,
    ``ALL_PROXY``, ``NO_PROXY``, as for curl), or None."""
    proxies = _proxies(tuple(map(os.environ.get, _PROXIES)))
    parsed = parsed_url(url)
    proxy = proxies.get(parsed.scheme or "") or proxies.get("all")
    host = (parsed.host or "").strip("[]")
    if not proxy or proxy_bypass(f"{host}:{parsed.port or ''}") or proxy_bypass(host):
        return None
    return proxy


def ask(
    method: str, url: str, headers: dict[str, str], *, public: bool
) -> tuple[BaseHTTPResponse, bool]:
    """Return the answer to a request, not yet read, and whether it came from a public address. With
    ``public``, raises PrivateAddressError for any other address. Raises BadUrlError, and the errors
    of urllib3.

    Through a proxy the address is not known. Then every host counts as public, except localhost
    and a private address in the URL itself.
    """
    proxy = proxy_of(url)
    if proxy is not None and public and _is_private_host(url):
        raise PrivateAddressError
    headers = {**_HEADERS, **_access.headers_for(url), **headers}
    manager = _pools.manager(proxy, public=public)
    if proxy is not None:
        response: BaseHTTPResponse = manager.request(method, url, headers=headers, **_UNREAD)
        return response, not _is_private_host(url)
    # This is what manager.request() does for a URL that is in its normal form.
    to = parsed_url(url)
    pool = manager.connection_from_host(to.host, to.port, to.scheme)
    response = pool.urlopen(method, to.request_uri, headers=headers, **_UNREAD)
    peer = getattr(response.connection, "peer", None)
    return response, peer is None or is_public(peer)


def _is_private_host(url: str) -> bool:
    host = (parsed_url(url).host or "").strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # Resolvers also accept 127.1, 2130706433 and 0x7f000001 as addresses.
        number = host[-1:].isdecimal() or host.rpartition(".")[2].startswith("0x")
        return host == "localhost" or host.endswith(".localhost") or number
    return not is_public(host)
