"""The configuration of the cache: regions, their stores and their expiry.

An application function opts in:

    from beakercache import cache

    @cache.region("functions")
    def tasks_of(owner_id): ...
"""

import os
from pathlib import Path

from beaker_regions import (
    CacheManager,
    expiry_options,
    memcached_options,
    other_secret_keys,
    parse_cache_config_options,
    redis_options,
    secret_key,
    size_limit_options,
)

VAR = Path(__file__).parent / "var"

cache_opts = {
    "cache.regions": "functions, files",
    # Options without a region's name are those of every region; a region's own option wins.
    "cache.type": "file",
    "cache.data_dir": os.environ.get("REGIONS_DATA_DIR", VAR / "regions"),
    # The limit of each region on disk; the least recently used entries are removed first.
    "cache.size_limit": 2 * 1024**3,  # bytes
    "cache.secret": [secret_key(VAR / "secret_key"), *other_secret_keys()],
    # Results of queries. They are invalidated when their data changes, so the expiry affects only
    # the number of loads (longer: fewer) and the memory in use (shorter: less).
    "cache.functions.expire": 60 * 60,  # seconds
    # Imported files. An expired file is fetched again from its origin.
    "cache.files.expire": 5 * 24 * 60 * 60,  # seconds
    # For this time after its expiry, a file is served while it is fetched again, or while its
    # origin is unavailable.
    "cache.files.grace": 30 * 24 * 60 * 60,  # seconds
    "cache.files.size_limit": 20 * 1024**3,  # bytes
    # MEMCACHED_SERVERS or MEMCACHIER_SERVERS in the environment puts "functions" on memcached;
    # without them, REDIS_URL or VALKEY_URL puts it on Redis or Valkey.
    **(memcached_options("functions") or redis_options("functions")),
    # REGIONS_FUNCTIONS_EXPIRE and REGIONS_FILES_EXPIRE (seconds, or none) override the expiry.
    **expiry_options("functions", "files"),
    # REGIONS_FUNCTIONS_SIZE_LIMIT and REGIONS_FILES_SIZE_LIMIT (such as 40G, or none) override the
    # limit.
    **size_limit_options("functions", "files"),
}

cache = CacheManager(**parse_cache_config_options(cache_opts))
