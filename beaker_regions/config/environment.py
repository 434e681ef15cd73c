"""What the environment says of the regions: where the memcached servers are, as hosting platforms
tell it, and for how long a region's values are served, where that is to differ from the file."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

from beaker_regions.config.addresses import servers
from beaker_regions.config.options import lifetime
from beaker_regions.errors import ConfigurationError, nearest

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


def expiry_options(*regions: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options that give ``regions`` the expiry the environment names.

    ``REGIONS_FILES_EXPIRE=3600`` for the region "files": seconds, or ``none`` for ever. A name is
    written in capitals, with _ for -. An empty variable says nothing. Raises ConfigurationError
    for a value that is no time, and for a variable of a region that is not among ``regions``.
    """
    variables = {f"REGIONS_{name.upper().replace('-', '_')}_EXPIRE": name for name in regions}
    options: dict[str, Any] = {}
    for variable, value in environ.items():
        if not re.fullmatch("REGIONS_.+_EXPIRE", variable) or not value.strip():
            continue
        if variable not in variables:
            raise ConfigurationError(
                f"{variable} = {value!r}: there is no such region; {nearest(variable, variables)}"
            )
        try:
            expire = lifetime(None if value.strip().lower() == "none" else value)
        except ValueError as error:
            raise ConfigurationError(
                f"{variable} = {value!r}: give a number of seconds above 0, such as 3600, or none "
                "for ever"
            ) from error
        options[f"cache.{variables[variable]}.expire"] = None if math.isinf(expire) else expire
    return options


def _required(variable: str, because: str, environ: Mapping[str, str]) -> str:
    if value := environ.get(variable):
        return value
    raise ConfigurationError(f"{variable} is missing; it goes with {because}")
