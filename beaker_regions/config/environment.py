"""Options from environment variables: servers, expiry and size limit of a region."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from beaker_regions.config.addresses import redis_servers, servers
from beaker_regions.config.options import checked, lifetime
from beaker_regions.errors import ConfigurationError, nearest


def memcached_options(region: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options that put a region on the memcached servers that the environment names.

    The variables are ``MEMCACHED_SERVERS`` (``host:port,host:port``), or ``MEMCACHIER_SERVERS``
    with ``MEMCACHIER_USERNAME`` and ``MEMCACHIER_PASSWORD``.

    Args:
        region: The name of the region.
        environ: The environment variables.

    Returns:
        Options for `parse_cache_config_options`. Empty if no variable is set; the region then
        keeps its configured type.

    Raises:
        ConfigurationError: A variable cannot be used, or one that belongs to it is missing.

    Example:
        >>> memcached_options("functions", {"MEMCACHED_SERVERS": "10.0.0.1:11211"})
        {'cache.functions.type': 'ext:memcached', 'cache.functions.url': '10.0.0.1:11211'}
    """
    options: dict[str, Any] = {}
    for variable in ("MEMCACHED_SERVERS", "MEMCACHIER_SERVERS"):
        if not (url := environ.get(variable, "").strip()):
            continue
        checked(f"region {region!r}", f"url, from {variable}", servers, url)
        options = {"type": "ext:memcached", "url": url}
        if variable.startswith("MEMCACHIER"):
            options["username"] = _required("MEMCACHIER_USERNAME", variable, environ)
            options["password"] = _required("MEMCACHIER_PASSWORD", variable, environ)
        break
    return {f"cache.{region}.{option}": value for option, value in options.items()}


def redis_options(region: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options that put a region on the Redis or Valkey that the environment names.

    The variable is ``REDIS_URL`` or ``VALKEY_URL``, as hosting platforms set it: the URL of a
    server, or several, separated by commas.

    Args:
        region: The name of the region.
        environ: The environment variables.

    Returns:
        Options for `parse_cache_config_options`. Empty if no variable is set; the region then
        keeps its configured type.

    Raises:
        ConfigurationError: The variable cannot be used.

    Example:
        >>> redis_options("functions", {"REDIS_URL": "redis://10.0.0.1/0"})
        {'cache.functions.type': 'ext:redis', 'cache.functions.url': 'redis://10.0.0.1/0'}
    """
    for variable, type_ in (("REDIS_URL", "ext:redis"), ("VALKEY_URL", "ext:valkey")):
        if url := environ.get(variable, "").strip():
            checked(f"region {region!r}", f"url, from {variable}", redis_servers, url)
            return {f"cache.{region}.type": type_, f"cache.{region}.url": url}
    return {}


def expiry_options(*regions: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options that give regions the expiry that the environment names.

    The variable of the region "files" is ``REGIONS_FILES_EXPIRE``: seconds, or ``none`` for no
    expiry. The name is in capitals, with _ for -. An empty variable is ignored.

    Args:
        *regions: The names of the regions.
        environ: The environment variables.

    Returns:
        Options for `parse_cache_config_options`.

    Raises:
        ConfigurationError: A value is not a time, or a variable names a region that is not given.

    Example:
        >>> expiry_options("files", environ={"REGIONS_FILES_EXPIRE": "3600"})
        {'cache.files.expire': 3600.0}
    """
    options: dict[str, Any] = {}
    for region, variable, value in _given("EXPIRE", regions, environ):
        try:
            expire = lifetime(None if value.lower() == "none" else value)
        except ValueError as error:
            raise ConfigurationError(
                f"{variable} = {value!r}: give a number of seconds above 0, such as 3600, or none "
                "for ever"
            ) from error
        options[f"cache.{region}.expire"] = None if math.isinf(expire) else expire
    return options


def size_limit_options(*regions: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options that give regions of files the size limit that the environment names.

    The variable of the region "files" is ``REGIONS_FILES_SIZE_LIMIT``: bytes, also as ``500M``,
    ``40G`` or ``2T`` (powers of 1024), or ``none`` for no limit. The name is in capitals, with _
    for -. An empty variable is ignored.

    Args:
        *regions: The names of the regions.
        environ: The environment variables.

    Returns:
        Options for `parse_cache_config_options`.

    Raises:
        ConfigurationError: A value is not a size, or a variable names a region that is not given.

    Example:
        >>> size_limit_options("files", environ={"REGIONS_FILES_SIZE_LIMIT": "40G"})
        {'cache.files.size_limit': 42949672960}
    """
    options: dict[str, Any] = {}
    for region, variable, value in _given("SIZE_LIMIT", regions, environ):
        match = re.fullmatch(r"([1-9][0-9]{0,17}) ?([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
        if match is None and value.lower() != "none":
            raise ConfigurationError(
                f"{variable} = {value!r}: give a number of bytes, such as 40G, or none for no limit"
            )
        size = match and int(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
        options[f"cache.{region}.size_limit"] = size
    return options


def _given(
    option: str, regions: Iterable[str], environ: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield region, variable and value for each variable of an option.

    Raises:
        ConfigurationError: A variable names a region that is not among ``regions``.
    """
    variables = {f"REGIONS_{name.upper().replace('-', '_')}_{option}": name for name in regions}
    for variable, value in environ.items():
        if not re.fullmatch(f"REGIONS_.+_{option}", variable) or not value.strip():
            continue
        if variable not in variables:
            raise ConfigurationError(
                f"{variable} = {value!r}: there is no such region; {nearest(variable, variables)}"
            )
        yield variables[variable], variable, value.strip()


def _required(variable: str, because: str, environ: Mapping[str, str]) -> str:
    if value := environ.get(variable):
        return value
    raise ConfigurationError(f"{variable} is missing; it goes with {because}")
