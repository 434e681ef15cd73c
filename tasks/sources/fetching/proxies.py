"""The proxies that the environment names: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and
``NO_PROXY``, as for curl."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from urllib3.util import make_headers

from tasks.sources.fetching.urls import BadUrlError, parsed_url

if TYPE_CHECKING:
    from urllib3.util import Url


@functools.lru_cache(256)
def proxy_for(scheme: str | None, host: str, port: int | None) -> str | None:
    """Return the proxy for a server, or None. The environment is not read for each request: that
    takes longer than the request."""
    proxies = getproxies()
    proxy = proxies.get(scheme or "") or proxies.get("all")
    host = host.strip("[]")
    if not proxy or proxy_bypass(f"{host}:{port or ''}") or proxy_bypass(host):
        return None
    return proxy


forget_proxies = proxy_for.cache_clear
"""Lets the environment be read again."""


def parsed_proxy(proxy: str) -> tuple[Url, dict[str, str]]:
    """Return a proxy's URL without its login, and the header that has the login. Raises
    BadUrlError for a proxy of another kind than http and https."""
    parsed = parsed_url(proxy if "://" in proxy else f"http://{proxy}")
    if parsed.scheme not in ("http", "https"):
        raise BadUrlError(
            f"needs a proxy of the kind {parsed.scheme!r}, as the environment says (HTTP_PROXY, "
            "HTTPS_PROXY, ALL_PROXY); only http and https proxies are supported"
        )
    login = make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else {}
    return parsed._replace(auth=None), dict(login)
