"""The proxies that the environment names: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and
``NO_PROXY``, as for curl."""

from __future__ import annotations

import functools
from urllib.request import getproxies, proxy_bypass

import pycurl

from tasks.sources.fetching.urls import PORTS, BadUrlError

_SUPPRESS_CONNECT_HEADERS = 265
"""An option of libcurl that pycurl has no name for: the proxy's own answer is not passed on."""


@functools.lru_cache(256)
def proxy_for(scheme: str, host: str, port: int) -> str | None:
    """Return the proxy for a server, or None. The environment is not read for each request: that
    takes longer than the request."""
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(f"{host}:{port}") or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


forget_proxies = proxy_for.cache_clear
"""Lets the environment be read again."""


def options_of(proxy: str | None) -> dict[int, str | int]:
    """Return the options of libcurl for a proxy, or for none: it does not look into the environment
    itself. Raises BadUrlError for a proxy of another kind than http and https."""
    if proxy is None:
        return {pycurl.PROXY: ""}
    scheme = proxy.partition("://")[0].lower()
    if scheme not in PORTS:
        raise BadUrlError(
            f"needs a proxy of the kind {scheme!r}, as the environment says (HTTP_PROXY, "
            "HTTPS_PROXY, ALL_PROXY); only http and https proxies are supported"
        )
    return {
        pycurl.PROXY: proxy,
        pycurl.PROXYPORT: PORTS[scheme],
        pycurl.NOPROXY: "",
        _SUPPRESS_CONNECT_HEADERS: 1,
    }
