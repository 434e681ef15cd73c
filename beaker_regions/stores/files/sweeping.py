"""Expired entries are removed now and then, without a command or a timer.

Each minute one process (`beaker_regions.telemetry.maintenance`) sweeps one of the 256 folders of a
region's entries, in a thread of its own. So all folders are swept within hours, and no caller
waits. A file contains the name of the folder that was swept last. Its lock lets one process sweep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable

from beaker_regions.runtime.flock import locked
from beaker_regions.stores.files import layout, maintenance
from beaker_regions.stores.files.store import FileStore

logger = logging.getLogger("beaker_regions")

EVERY = 50.0
"""Seconds between two folders of a store, whichever processes sweep them: less than a minute, so
that one is swept each minute."""


def sweep_next(store: FileStore, grace: Callable[[], float]) -> None:
    """Remove entries that were invalidated, or expired at least ``grace()`` seconds ago, from the
    next folder. Does nothing if it is too early, or another process sweeps. Never raises
    OSError."""
    shards = sorted(layout.shards(store))
    if not shards:
        return
    try:
        # If another process has the lock, it sweeps the same folder.
        with contextlib.suppress(TimeoutError), locked(str(store.folder / "swept"), 0) as turn:
            last = os.read(turn, 2).decode("latin-1")
            if last and 0 <= time.time() - os.fstat(turn).st_mtime < EVERY:
                return
            shard = next((each for each in shards if each[-2:] > last), shards[0])
            os.pwrite(turn, os.fsencode(shard[-2:]), 0)
            freed, _ = maintenance.sweep_shard(store, shard, grace())
            if freed and store.size_limit is not None:
                store.size_limit.grew(-sum(freed))
    except OSError as error:
        logger.warning("expired entries in %s cannot be removed: %s", store.folder, error)
