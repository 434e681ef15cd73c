"""The configuration of the regions, in Beaker's keys: shared options, regions, and clusters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import beaker.util

from beaker_regions.config.options import (
    BUILTIN_TYPES,
    COMMON,
    SERVER_TYPES,
    SERVER_TYPES_TEXT,
    Config,
    check,
    shared_by,
)
from beaker_regions.errors import ConfigurationError, nearest

PREFIXES = ("beaker.cache.", "cache.")


def parse_cache_config_options(config: Config, include_defaults: bool = True) -> dict[str, Any]:
    """Read a configuration in Beaker's keys, and check them.

    ``cache.expire`` is an option of every region, ``cache.files.expire`` of the region "files";
    the latter wins. Keys may also begin with ``beaker.cache.``.

    Args:
        config: The configuration. Other keys are ignored.
        include_defaults: Whether to include the defaults of Beaker's own options.

    Returns:
        The keyword arguments of `CacheManager`.

    Raises:
        ConfigurationError: A key, or the name of a region, is not valid.

    Example:
        >>> parsed = parse_cache_config_options(
        ...     {"cache.regions": "files", "cache.type": "file", "cache.files.expire": 60}
        ... )
        >>> parsed["cache_regions"]["files"]
        {'type': 'file', 'expire': 60}
    """
    given = {}
    for key, value in config.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix is not None:
            given[key[len(prefix) :]] = value
    names = _region_names(given.get("regions"))
    known = {*COMMON, "regions", *(option for own in BUILTIN_TYPES.values() for option in own)}
    for key in given:
        region, dot, _ = key.partition(".")
        if dot and region not in names:
            raise ConfigurationError(
                f"cache.{key}: there is no region {region!r} in cache.regions; "
                f"{nearest(region, names)}"
            )
        if not dot and key not in known:
            raise ConfigurationError(f"cache.{key}: no such option; {nearest(key, known)}")
    shared = {key: value for key, value in given.items() if key in known - {"regions"}}
    parsed: dict[str, Any] = beaker.util.parse_cache_config_options(
        {"cache.regions": list(names)}, include_defaults
    )
    regions = {name: shared_by(shared, _own_options(given, name)) for name in names}
    parsed["cache_regions"] = {
        name: _with_cluster(f"region {name!r}", own, regions) for name, own in regions.items()
    }
    # For caches that belong to no region.
    return parsed | _with_cluster("cache", shared, regions)


def _region_names(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else list(value or ())
    stripped = tuple(name.strip() for name in names if name.strip())
    for name in stripped:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
            raise ConfigurationError(
                f"cache.regions: {name!r} cannot name a region; use letters, digits, - and _"
            )
    return stripped


def _own_options(given: Config, name: str) -> dict[str, Any]:
    """Return the options that name this region."""
    prefix = f"{name}."
    return {key[len(prefix) :]: value for key, value in given.items() if key.startswith(prefix)}


def _with_cluster(
    subject: str, options: dict[str, Any], regions: Mapping[str, Config]
) -> dict[str, Any]:
    """Replace the name in the option ``cluster`` by the checked options of that region.

    Hosts with files of their own exchange invalidations on its servers.
    """
    name = options.get("cluster")
    if name is None:
        return options
    found = regions.get(name) if isinstance(name, str) else None
    if found is None:
        mend = f"there is no such region; {nearest(str(name), regions)}"
    elif found["type"] not in SERVER_TYPES:
        mend = (
            f"that region is of type {found['type']!r}: name one of type {SERVER_TYPES_TEXT}, on "
            "whose servers the hosts exchange invalidations; a single host needs no cluster"
        )
    else:
        return options | {"cluster": check(name, found)}
    raise ConfigurationError(f"{subject}: cluster = {name!r}: {mend}")
