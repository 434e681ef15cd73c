"""Multi-region caching on Beaker: after an invalidation, no read returns an older value.

An application imports everything from here, and for Django from `beaker_regions.django`.
"""

from beaker_regions.api.async_function import AsyncCachedFunction
from beaker_regions.api.counters import Counter
from beaker_regions.api.function import CachedFunction
from beaker_regions.api.values import Values
from beaker_regions.beaker_api.registry import patch_beaker
from beaker_regions.config.environment import (
    expiry_options,
    memcached_options,
    redis_options,
    size_limit_options,
)
from beaker_regions.config.parsing import parse_cache_config_options
from beaker_regions.config.secrets import other_secret_keys, secret_key
from beaker_regions.engine.invalidation import NoTransactions, set_transactions
from beaker_regions.engine.region import Region
from beaker_regions.engine.store import Together
from beaker_regions.entries.content import CachedFile, Content, Resumable
from beaker_regions.entries.keys import register as register_key
from beaker_regions.errors import (
    CacheError,
    ConfigurationError,
    ContendedError,
    DependencyError,
    StoreUnavailableError,
    UnkeyableArgumentError,
)
from beaker_regions.manager import CacheManager
from beaker_regions.telemetry.recorder import counting_imports

__all__ = [
    "AsyncCachedFunction",
    "CacheError",
    "CacheManager",
    "CachedFile",
    "CachedFunction",
    "ConfigurationError",
    "ContendedError",
    "Content",
    "Counter",
    "DependencyError",
    "NoTransactions",
    "Region",
    "Resumable",
    "StoreUnavailableError",
    "Together",
    "UnkeyableArgumentError",
    "Values",
    "counting_imports",
    "expiry_options",
    "memcached_options",
    "other_secret_keys",
    "parse_cache_config_options",
    "patch_beaker",
    "redis_options",
    "register_key",
    "secret_key",
    "set_transactions",
    "size_limit_options",
]
