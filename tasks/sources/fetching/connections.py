"""The connections of this process, which threads share. libcurl makes them.

A redirect from a public address may lead only to public addresses. So no server on the internet can
make this host fetch files that only this host, or its network, can reach. The address is checked
before each connection is made, whatever a name was resolved to before.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pycurl

from tasks.sources.fetching.access import Access
from tasks.sources.fetching.addresses import is_private_name, is_public
from tasks.sources.fetching.answers import Answer, Handle
from tasks.sources.fetching.errors import CONNECT_SECONDS, PrivateAddressError
from tasks.sources.fetching.proxies import forget_proxies, options_of, proxy_for
from tasks.sources.fetching.urls import parsed_url
from tasks.sources.pace import at_once

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT = 64
"""The most connections that are kept for later requests: as many as there can be downloads at
once."""
_BLOCK = 64 * 1024
"""Bytes that libcurl receives at once. It takes up to eleven such blocks before it returns."""


class _Way(NamedTuple):
    """Where a connection leads."""

    origin: str
    proxy: str | None
    public: bool


class _Copied(socket.socket):
    """A socket of which libcurl has a copy."""

    def __del__(self) -> None:
        self.close()


class _Connection(Handle):
    """A handle whose requests all lead the same way."""

    def __init__(self, way: _Way) -> None:
        super().__init__()
        self.way = way
        self._asked: tuple[str, Mapping[str, str]] | None = None
        self.is_refused = False
        """Whether an address was not public, and should have been."""
        options: dict[int, Any] = {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.CONNECTTIMEOUT: int(CONNECT_SECONDS),
            pycurl.BUFFERSIZE: at_once(_BLOCK),
            pycurl.USERAGENT: "regions-import",
            **options_of(way.proxy),
            **_trusted(),
        }
        if way.public:
            options[pycurl.OPENSOCKETFUNCTION] = self._open
        for option, value in options.items():
            self.curl.setopt(option, value)

    def set(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        """Let the next request be this one."""
        self.curl.setopt(pycurl.URL, url)
        if self._asked != (method, headers):
            self._asked = None
            # To libcurl, a name with a colon and nothing behind it is a header to leave out.
            lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
            self.curl.setopt(pycurl.HTTPHEADER, [line.encode("latin-1") for line in lines])
            self.curl.setopt(pycurl.NOBODY if method == "HEAD" else pycurl.HTTPGET, 1)
            self._asked = method, headers

    def _open(self, _: int, address: Any) -> socket.socket | int:
        if is_public(address.addr[0]):
            return _Copied(address.family, address.socktype, address.protocol)
        self.is_refused = True
        return pycurl.SOCKET_BAD


class _Connections:
    """The connections that wait for a request. A child process makes its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[_Connection] = []
        """The latest is the last."""

    def reset(self) -> None:
        """Close all connections."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()

    def forget(self) -> None:
        """Begin again in a child process. What it inherits is not closed: that would end the
        connections of its parent."""
        self._lock = threading.Lock()
        self._inherited, self._kept = self._kept, []

    def take(self, way: _Way) -> _Connection:
        """Return a connection that was kept, or another one."""
        with self._lock:
            for at in range(len(self._kept) - 1, -1, -1):
                if self._kept[at].way == way:
                    return self._kept.pop(at)
        return _Connection(way)

    def give_back(self, connection: _Connection, stays: bool) -> None:
        """Keep a connection for another request, or close it."""
        if stays:
            with self._lock:
                self._kept.append(connection)
                if len(self._kept) <= _KEPT:
                    return
                connection = self._kept.pop(0)
        connection.close()


_connections = _Connections()
os.register_at_fork(before=_connections.reset, after_in_child=_connections.forget)
_access = Access()


def use_access(access: Access) -> None:
    """Give servers what they ask for, from now on, in this process."""
    global _access
    _access = access
    forget_proxies()
    _connections.reset()


class Request:
    """A request (GET or HEAD) that was sent."""

    def __init__(
        self, method: str, url: str, headers: Mapping[str, str], *, asked: str, public: bool
    ) -> None:
        """Send it, without waiting. ``asked``: the URL that was redirected to this one, or this
        one. Raises BadUrlError and PrivateAddressError."""
        to = parsed_url(url)
        proxy = proxy_for(to.scheme, to.host, to.port)
        if proxy is not None and public and is_private_name(to.host):
            raise PrivateAddressError
        self._is_public = None if proxy is None else not is_private_name(to.host)
        # Not compressed: digests and byte ranges are those of the content itself.
        every = {"Accept-Encoding": "identity", **_access.headers_for(url, asked), **headers}
        self._connection = _connections.take(_Way(to.origin, proxy, public and proxy is None))
        try:
            self._connection.set(method, url, every)
            over = partial(_connections.give_back, self._connection)
            self._answer = Answer(self._connection, over)
        except BaseException:
            self._connection.close()
            raise

    def answer(self) -> tuple[Answer, bool]:
        """Return the answer, not yet read, and whether it came from a public address. With
        ``public``, raises PrivateAddressError for any other address. Raises FetchError.

        Through a proxy the address is not known. Then every host counts as public, except localhost
        and a private address in the URL itself.
        """
        answer = self._answer
        try:
            answer.begin()
        except BaseException as error:
            answer.close()
            if self._connection.is_refused and isinstance(error, OSError):
                raise PrivateAddressError from None
            raise
        return answer, answer.is_public if self._is_public is None else self._is_public


def _trusted() -> dict[int, str | None]:
    """Return the options that name the authorities to trust. libcurl's own default may be a file
    of another system."""
    paths = ssl.get_default_verify_paths()
    file, folder = _access.authorities, None
    if file is None:
        file, folder = paths.cafile, paths.capath
    if file is None and folder is None:
        return {}
    files = {pycurl.CAINFO: file, pycurl.PROXY_CAINFO: file}
    return {**files, pycurl.CAPATH: folder, pycurl.PROXY_CAPATH: folder}
