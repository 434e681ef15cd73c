"""Multi-region caching on Beaker, with invalidation that holds under races and faults."""

from beaker_regions.beaker_api.namespaces_registry import install
from beaker_regions.config.parsing import parse_cache_config_options
from beaker_regions.entries.content import CachedFile, Content, Resumable
from beaker_regions.errors import (
    CacheError,
    ConfigurationError,
    Contended,
    StoreUnavailable,
    UnkeyableArgument,
)
from beaker_regions.manager import CacheManager

__all__ = [
    "CacheError",
    "CacheManager",
    "CachedFile",
    "ConfigurationError",
    "Contended",
    "Content",
    "Resumable",
    "StoreUnavailable",
    "UnkeyableArgument",
    "install",
    "parse_cache_config_options",
]
