"""What servers ask of this process: headers such as a token, a login, a certificate authority.

Nothing of it is stored. Headers and logins go only to the server that they are meant for, and not
along with a redirect to another one.
"""

from __future__ import annotations

import base64
import netrc
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.sources.fetching.urls import BadUrlError, parsed_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")


class BadAccessError(ValueError):
    """A file with headers, logins or certificates that cannot be used."""


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's means of access for one run."""

    origin: str = ""
    """The scheme, host and port to which the headers are sent (`origin_of`)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    logins: netrc.netrc | None = None
    authorities: str | None = None
    """The path of a file with the certificates of authorities, in place of the system's."""

    def headers_for(self, url: str, asked: str) -> dict[str, str]:
        """Return the headers to send to a URL, to which ``asked`` was redirected, or is equal."""
        found: dict[str, str] = {}
        login = self._login_for(url, asked)
        if login:
            secret = base64.b64encode(f"{login[0]}:{login[2] or ''}".encode()).decode()
            found["Authorization"] = f"Basic {secret}"
        if self.origin and origin_of(url) == self.origin:
            found |= self.headers
        return found

    def _login_for(self, url: str, asked: str) -> tuple[str, str, str] | None:
        if self.logins is None:
            return None
        host = parsed_url(url).host
        # The default login is for what the operator names, not for any server that it names.
        if host not in self.logins.hosts and origin_of(url) != origin_of(asked):
            return None
        return self.logins.authenticators(host)


def access_of(
    source: str, headers: str | None, logins: str | None, authorities: str | None
) -> Access:
    """Return the access to ``source``, a URL, by the names of a file of headers (``Name: value``,
    one a line), of a netrc file and of a file of certificates. Raises BadAccessError."""
    if authorities is not None and not os.path.isfile(authorities):
        raise BadAccessError(f"{authorities!r} is no file of certificates")
    return Access(
        origin_of(source) if headers is not None else "",
        {} if headers is None else _headers_in(headers),
        None if logins is None else _logins_in(logins),
        authorities,
    )


def origin_of(url: str) -> str:
    """Return the scheme, host and port of a URL; "" if it is none."""
    try:
        return parsed_url(url).origin
    except BadUrlError:
        return ""


def _headers_in(name: str) -> dict[str, str]:
    try:
        with open(name, encoding="ascii") as file:
            lines = [line.strip() for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise BadAccessError(f"{name!r} cannot be read: {error}") from error
    found = [_HEADER.fullmatch(line) for line in lines]
    if not all(found) or not found:
        # The line itself may be a token.
        raise BadAccessError(
            f"{name!r} is no file of headers: give one a line, such as Authorization: Bearer TOKEN"
        )
    return {match[1]: match[2] for match in found if match}


def _logins_in(name: str) -> netrc.netrc:
    try:
        return netrc.netrc(os.path.expanduser(name))
    except (OSError, netrc.NetrcParseError) as error:
        raise BadAccessError(f"{name!r} is no netrc file that can be read: {error}") from error
