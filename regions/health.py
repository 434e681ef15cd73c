"""Whether what a region needs is there: servers, folders, room, and clocks that agree."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regions.backends.memcached_parts import PART_SIZE
from regions.backends.memcached_status import status
from regions.errors import StoreUnavailable

if TYPE_CHECKING:
    from regions.region import Region

LEAST_FREE = 0.05
"""Share of a disk."""
LEAST_MEMORY = 64 << 20
"""Bytes."""
CLOCK = 2.0
"""Seconds by which a server's clock may differ; it counts whole ones."""


class Finding(NamedTuple):
    """Something that was looked at."""

    region: str
    subject: str
    """A server, a folder, an option."""
    level: str
    """ok, warning or error."""
    message: str


def servers_of(region: Region) -> list[str]:
    """Return the addresses of a region's memcached servers."""
    return [server for server, _ in dict(region.options.backend).get("url", ())]


def server_status(region: Region, server: str) -> dict[str, str]:
    """Return what one of the region's servers tells of itself (`memcached_status.status`).
    Raises StoreUnavailable."""
    backend = dict(region.options.backend)
    return status(server, backend.get("username"), backend.get("password"))


def check_here(region: Region) -> list[Finding]:
    """Look at what a region needs of this host; never raises."""
    return [
        Finding(region.name, subject, level, message)
        for subject, level, message in [*_options(region), *_folders(region)]
    ]


def check(region: Region) -> list[Finding]:
    """As `check_here`, and ask its servers; never raises."""
    found = check_here(region)
    for server in servers_of(region):
        found += check_server(region, server)
    return found


def check_server(region: Region, server: str) -> list[Finding]:
    """Ask one of a region's servers; never raises."""
    try:
        told = server_status(region, server)
    except StoreUnavailable as error:
        return [Finding(region.name, server, "error", str(error))]
    return [Finding(region.name, server, *each) for each in _server(told)]


def _options(region: Region) -> list[tuple[str, str, str]]:
    options = region.options
    found = []
    if not options.enabled:
        found.append(("enabled", "warning", "the region is off: every call runs its function"))
    if not options.secret:
        found.append(
            ("secret", "error", "there is none: no process can use what another stores; set it")
        )
    return found or [("options", "ok", "as they should be")]


def _folders(region: Region) -> list[tuple[str, str, str]]:
    backend = dict(region.options.backend)
    folders = {region.options.data_dir, backend.get("file_dir")} - {None}
    found = []
    for folder in sorted(map(str, folders)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            free, inodes = shutil.disk_usage(folder), os.statvfs(folder)
        except OSError as error:
            found.append((folder, "error", f"cannot be written to: {error.strerror}"))
            continue
        limit = backend.get("size_limit")
        gigabytes = f"{free.free / 2**30:.1f} GB free"
        if free.free < LEAST_FREE * free.total:
            found.append((folder, "warning", f"only {gigabytes}"))
        elif inodes.f_files and inodes.f_favail < LEAST_FREE * inodes.f_files:
            found.append((folder, "warning", f"only {inodes.f_favail} more files can be made"))
        elif limit and limit > free.total:
            found.append((folder, "warning", f"size_limit is more than the disk has; {gigabytes}"))
        else:
            found.append((folder, "ok", gigabytes))
    return found


def _server(told: dict[str, str]) -> list[tuple[str, str]]:
    milliseconds = float(told["answered_in"]) * 1e3
    found = [("ok", f"memcached {told.get('version')} answers in {milliseconds:.1f} ms")]
    off = int(told["time"]) - time.time()
    if not -CLOCK <= off <= CLOCK - 1:
        # Only for entries that live for more than 30 days: the rest is told in seconds from now.
        found.append(("warning", f"its clock is {off:+.0f} s off this one"))
    largest = int(told.get("item_size_max", PART_SIZE))
    if largest < PART_SIZE + 1024:
        found.append(
            ("error", f"takes items of {largest} bytes only: start it with -I {PART_SIZE * 2}")
        )
    if int(told.get("limit_maxbytes", LEAST_MEMORY)) < LEAST_MEMORY:
        found.append(("warning", f"has only {int(told['limit_maxbytes']) >> 20} MB of memory"))
    if evicted := int(told.get("evictions", 0)):
        found.append(("warning", f"has evicted {evicted} items for want of memory"))
    return found
