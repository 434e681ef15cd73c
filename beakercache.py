"""What is cached where, and for how long. The only file to open to tune anything.

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
    secret_key,
)

VAR = Path(__file__).parent / "var"

cache_opts = {
    "cache.regions": "functions, files",
    # What stands here holds for every region; a region's own line wins.
    "cache.type": "file",
    "cache.data_dir": os.environ.get("REGIONS_DATA_DIR", VAR / "regions"),
    # Of each region on disk; the least recently used go first.
    "cache.size_limit": 2 * 1024**3,  # bytes
    "cache.secret": [secret_key(VAR / "secret_key"), *other_secret_keys()],
    # Results of queries. Invalidated when their data changes, so expiry is only a backstop:
    # longer saves loads, shorter frees memory.
    "cache.functions.expire": 60 * 60,  # seconds
    # Imported files. Expired ones are fetched again from where they came.
    "cache.files.expire": 5 * 24 * 60 * 60,  # seconds
    # A copy that has expired is better than none: it is served while it is fetched again, and for
    # as long as where it came from is away, for a month.
    "cache.files.grace": 30 * 24 * 60 * 60,  # seconds
    "cache.files.size_limit": 20 * 1024**3,  # bytes
    # MEMCACHED_SERVERS or MEMCACHIER_SERVERS in the environment put "functions" on memcached.
    **memcached_options("functions"),
    # REGIONS_FUNCTIONS_EXPIRE, REGIONS_FILES_EXPIRE (seconds, or none) override what stands above.
    **expiry_options("functions", "files"),
}

cache = CacheManager(**parse_cache_config_options(cache_opts))
