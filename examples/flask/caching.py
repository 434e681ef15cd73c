"""What is kept where, and for how long. The only file to open to tune anything."""

import os
from pathlib import Path

from beaker_regions import CacheManager, memcached_options, parse_cache_config_options, secret_key

VAR = Path(os.environ.get("TASKS_DIR", Path(__file__).parent / "var"))

cache_opts = {
    "cache.regions": "queries, sessions",
    "cache.type": "file",
    "cache.data_dir": VAR / "regions",
    "cache.secret": secret_key(VAR / "secret_key"),
    # For a memcached: no user is logged out because it was busy for a moment.
    "cache.timeout": 1,  # second
    # Invalidated when their data changes, so expiry is only a backstop.
    "cache.queries.expire": 60 * 60,  # seconds
    # Whose session is gone logs in again.
    "cache.sessions.expire": 14 * 24 * 60 * 60,  # seconds
    # MEMCACHED_SERVERS in the environment puts both on memcached.
    **memcached_options("queries"),
    **memcached_options("sessions"),
}

cache = CacheManager(**parse_cache_config_options(cache_opts))
