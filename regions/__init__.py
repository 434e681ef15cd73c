"""Multi-region caching on Beaker, with invalidation that holds under races and faults."""

from regions.configuration import parse_cache_config_options
from regions.content import CachedFile, Content, Resumable
from regions.errors import (
    CacheError,
    ConfigurationError,
    Contended,
    StoreUnavailable,
    UnkeyableArgument,
)
from regions.front import install
from regions.manager import CacheManager

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
