"""Multi-region caching on Beaker, with invalidation that holds under races and faults."""

from beaker_regions.api.async_function import AsyncCachedFunction
from beaker_regions.api.counters import Counter
from beaker_regions.api.function import CachedFunction
from beaker_regions.api.values import Values
from beaker_regions.beaker_api.namespaces_registry import install
from beaker_regions.config.environment import expiry_options, memcached_options
from beaker_regions.config.parsing import parse_cache_config_options
from beaker_regions.config.secrets import other_secret_keys, secret_key
from beaker_regions.engine.region import Region
from beaker_regions.entries.content import CachedFile, Content, Resumable
from beaker_regions.entries.keys import register as register_key
from beaker_regions.errors import (
    CacheError,
    ConfigurationError,
    Contended,
    StoreUnavailable,
    UnkeyableArgument,
)
from beaker_regions.manager import CacheManager

__all__ = [
    "AsyncCachedFunction",
    "CacheError",
    "CacheManager",
    "CachedFile",
    "CachedFunction",
    "ConfigurationError",
    "Contended",
    "Content",
    "Counter",
    "Region",
    "Resumable",
    "StoreUnavailable",
    "UnkeyableArgument",
    "Values",
    "expiry_options",
    "install",
    "memcached_options",
    "other_secret_keys",
    "parse_cache_config_options",
    "register_key",
    "secret_key",
]
