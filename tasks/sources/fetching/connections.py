"""The connections of this process, which threads share. urllib3 makes them, with TLS and through
proxies.

A redirect from a public address may lead only to public addresses. So no server on the internet can
make this host fetch files that only this host, or its network, can reach. The address is checked
when the connection is made, whatever a name was resolved to before.
"""

from __future__ import annotations

import os
import select
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProxyError

from tasks.sources.fetching.access import Access
from tasks.sources.fetching.addresses import is_private_name, is_public
from tasks.sources.fetching.messages import Answer, Line, NoAnswerError, request
from tasks.sources.fetching.proxies import forget_proxies, parsed_proxy, proxy_for
from tasks.sources.fetching.urls import parsed_url

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Seconds without a byte after which a request fails."""
_KEPT = 64
"""The most connections that are kept for later requests: as many as there can be downloads at
once."""

_HEADERS = {
    # Not compressed: digests and byte ranges are those of the content itself.
    "Accept-Encoding": "identity",
    "User-Agent": "regions-import",
}


class PrivateAddressError(HTTPError):
    """A redirect from a public server led to an address that is not public."""


class _Peer:
    """A connection that knows the address of its server."""

    public = False
    """Whether only a public address will do."""
    peer: str

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        self.peer = connected.getpeername()[0]
        if self.public and not is_public(self.peer):
            connected.close()
            raise PrivateAddressError
        return connected


class _Plain(_Peer, HTTPConnection):
    pass


class _Encrypted(_Peer, HTTPSConnection):
    pass


class _Way(NamedTuple):
    """Where a connection leads."""

    scheme: str
    host: str
    port: int | None
    proxy: str | None
    public: bool


class _Connection:
    """A connection that is made."""

    def __init__(self, connected: _Plain | _Encrypted) -> None:
        connected.sock.settimeout(READ_SECONDS)
        self.peer = connected.peer
        self.close = connected.close
        self.line = Line(connected.sock)
        self._poll = select.poll()
        self._poll.register(connected.sock, select.POLLIN)

    def is_idle(self) -> bool:
        """Whether nothing has arrived that nobody asked for, not even the end."""
        return not self._poll.poll(0)


class _Connections:
    """The connections of this process that wait for a request. A child process makes its own."""

    def __init__(self) -> None:
        self._kept: list[tuple[_Way, _Connection]] = []
        """The latest is the last."""
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Close all connections; in a child process, only its descriptors of them."""
        self._lock = threading.Lock()
        kept, self._kept = self._kept, []
        for _, connection in kept:
            connection.close()

    def take(self, way: _Way) -> _Connection | None:
        """Return a connection that is still open; None if there is none."""
        while True:
            with self._lock:
                for at in range(len(self._kept) - 1, -1, -1):
                    if self._kept[at][0] == way:
                        _, found = self._kept.pop(at)
                        break
                else:
                    return None
            if found.is_idle():
                return found
            found.close()

    def give_back(self, way: _Way, connection: _Connection, stays: bool) -> None:
        """Keep a connection for another request, or close it."""
        oldest = connection
        if stays:
            with self._lock:
                self._kept.append((way, connection))
                if len(self._kept) <= _KEPT:
                    return
                _, oldest = self._kept.pop(0)
        oldest.close()


_connections = _Connections()
_access = Access()


def use_access(access: Access) -> None:
    """Give servers what they ask for, from now on, in this process."""
    global _access
    _access = access
    forget_proxies()
    _connections.reset()


def ask(
    method: str, url: str, headers: Mapping[str, str], *, asked: str, public: bool
) -> tuple[Answer, bool]:
    """Return the answer to a request, not yet read, and whether it came from a public address.
    ``asked``: the URL that was redirected to this one, or this one. With ``public``, raises
    PrivateAddressError for any other address. Raises BadUrlError, OSError, and the errors of
    urllib3.

    Through a proxy the address is not known. Then every host counts as public, except localhost
    and a private address in the URL itself.
    """
    to = parsed_url(url)
    host = to.host or ""
    proxy = proxy_for(to.scheme, host, to.port)
    if proxy is not None and public and is_private_name(host):
        raise PrivateAddressError
    way = _Way(to.scheme or "", host, to.port, proxy, public and proxy is None)
    target, named = to.request_uri, to.netloc or ""
    every = {"Host": named, **_HEADERS, **_access.headers_for(url, asked), **headers}
    if proxy is not None and to.scheme == "http":
        target = to._replace(fragment=None).url
        every |= parsed_proxy(proxy)[1]
    message = request(method, target, every)
    while True:
        kept = _connections.take(way)
        connection = kept or _connected(way)
        over = partial(_connections.give_back, way, connection)
        try:
            connection.line.socket.sendall(message)
            answer = Answer(connection.line, method, over)
        except BaseException as error:
            connection.close()
            # The server may end a kept connection at any moment, and is then asked once more.
            if kept is None or not isinstance(error, (ConnectionError, NoAnswerError)):
                raise
        else:
            if proxy is not None:
                return answer, not is_private_name(host)
            return answer, is_public(connection.peer)


def _connected(way: _Way) -> _Connection:
    """Make a connection. Raises BadUrlError, OSError, and the errors of urllib3."""
    connected = _unconnected(way)
    connected.public = way.public
    try:
        connected.connect()
    except BaseException as error:
        is_of_proxy = way.proxy is not None and not connected.has_connected_to_proxy
        connected.close()
        if isinstance(error, TimeoutError):
            error = ConnectTimeoutError("no connection")
        if is_of_proxy and isinstance(error, (HTTPError, OSError)):
            raise ProxyError("Cannot connect to proxy", error) from error
        raise error
    return _Connection(connected)


def _unconnected(way: _Way) -> _Plain | _Encrypted:
    options: dict[str, Any] = {"timeout": CONNECT_SECONDS}
    host, port, is_encrypted = way.host.strip("[]"), way.port, way.scheme == "https"
    if way.proxy is not None:
        proxy, login = parsed_proxy(way.proxy)
        host, port = (proxy.host or "").strip("[]"), proxy.port
        port = port or {"http": 80, "https": 443}[proxy.scheme or ""]
        options |= {"proxy": proxy, "proxy_config": ProxyConfig(None, False, None, None)}
        is_encrypted = is_encrypted or proxy.scheme == "https"
    if not is_encrypted:
        return _Plain(host, port, **options)
    connected = _Encrypted(host, port, ca_certs=_access.authorities, **options)
    if way.proxy is not None and way.scheme == "https":
        scheme = proxy.scheme or ""
        connected.set_tunnel(way.host, way.port or 443, headers=login, scheme=scheme)
    return connected
