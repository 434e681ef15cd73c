"""Why a URL could not be fetched, in readable words. No login is in them."""

from __future__ import annotations

import os

import pycurl

CONNECT_SECONDS = 10.0
_LASTING = {
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_URL_MALFORMAT,
}
"""Errors of libcurl that another try would not change."""


class FetchError(OSError):
    """A URL that could not be fetched."""


class TemporaryError(FetchError):
    """A URL that could not be fetched. Another try may succeed."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after
        """Seconds to wait, if the server has named a time."""


class SlowError(TemporaryError):
    """A transfer that is slower than it should be."""


class PrivateAddressError(FetchError):
    """A redirect from a public server to an address that is not public."""

    def __init__(self) -> None:
        super().__init__(
            "is redirected from a public address to a private one, where this host may read what "
            "others may not; give that URL itself to import it"
        )


def failure_of(code: int, message: str, curl: pycurl.Curl) -> FetchError:
    """Return the error for one of libcurl's."""
    error = curl.getinfo(pycurl.OS_ERRNO)
    message = message or f"error {code} of libcurl"
    # A connection may also break while TLS begins, and then no error of TLS has a number.
    is_lasting = code in _LASTING or (code == pycurl.E_SSL_CONNECT_ERROR and "error:" in message)
    if code in (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY):
        reason = "the host is not known"
    elif code == pycurl.E_OPERATION_TIMEDOUT:
        reason = f"no connection within {CONNECT_SECONDS:.0f} s"
    elif code == pycurl.E_COULDNT_CONNECT and error:
        reason = os.strerror(error)
    else:
        reason = message if is_lasting else f"the connection broke: {message}"
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        reason += "; give the import the certificate of another authority with --ca"
    tunnel = curl.getinfo(pycurl.HTTP_CONNECTCODE)
    is_reached = tunnel < 300 if tunnel else curl.getinfo(pycurl.REQUEST_SIZE) > 0
    is_by_proxy = curl.getinfo(pycurl.USED_PROXY) or code == pycurl.E_COULDNT_RESOLVE_PROXY
    if is_by_proxy and not is_reached:
        reason = f"the proxy that the environment names: {reason}"
    return FetchError(reason) if is_lasting else TemporaryError(reason)
