"""Where the memcached servers are, as hosting platforms tell it: in environment variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from regions.errors import ConfigurationError
from regions.servers import servers

if TYPE_CHECKING:
    from collections.abc import Mapping


def memcached_options(region: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options that put ``region`` on the memcached servers the environment names.

    ``MEMCACHED_SERVERS`` (``host:port,host:port``), or ``MEMCACHIER_SERVERS`` with
    ``MEMCACHIER_USERNAME`` and ``MEMCACHIER_PASSWORD``. Empty when there are none: the region
    stays what it is. Raises ConfigurationError for a variable that cannot be used or is missing.
    """
    options: dict[str, Any] = {}
    for variable in ("MEMCACHED_SERVERS", "MEMCACHIER_SERVERS"):
        if not environ.get(variable, "").strip():
            continue
        options = {"type": "ext:memcached", "url": environ[variable].strip()}
        try:
            servers(options["url"])
        except ValueError as error:
            raise ConfigurationError(
                f"region {region!r}: url, from {variable} = {environ[variable]!r}: {error}"
            ) from error
        if variable.startswith("MEMCACHIER"):
            options["memcache_module"] = "pylibmc"
            options["username"] = _required("MEMCACHIER_USERNAME", variable, environ)
            options["password"] = _required("MEMCACHIER_PASSWORD", variable, environ)
        break
    return {f"cache.{region}.{option}": value for option, value in options.items()}


def _required(variable: str, because: str, environ: Mapping[str, str]) -> str:
    if value := environ.get(variable):
        return value
    raise ConfigurationError(f"{variable} is missing; it goes with {because}")
