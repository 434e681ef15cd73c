"""The health of regions: servers and their clocks, folders, and the room in them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from beaker_regions.engine.region import Region
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.eviction import SizeLimit
from beaker_regions.stores.files.store import FileStore
from beaker_regions.stores.pending import waiting
from beaker_regions.stores.servers.store import ServerStore
from beaker_regions.telemetry import units

PATIENCE = 2.0
"""Seconds to wait for all servers together."""
MOST = 64
"""Servers that are queried at the same time."""
LEAST_FREE = 0.05
"""Share of a disk that must be free, or there is a warning."""
NEARLY_FULL = 0.9
"""Share of a region's size limit from which there is a warning."""
NAMED = 3
"""Files that a message names; of the others it gives the number."""


class Finding(NamedTuple):
    """The result of one check."""

    region: str
    subject: str
    """A server, a folder, an option."""
    level: str
    """ok, warning or error."""
    message: str


def servers_of(region: Region) -> list[str]:
    """Return the addresses of the servers that a region, or its cluster, is on."""
    store = _store_of(region)
    return [] if store is None else store.server_names


def kind_of(region: Region) -> str:
    """Return the kind of its servers, such as "memcached"."""
    store = _store_of(region)
    return "" if store is None else store.kind


def _store_of(region: Region) -> ServerStore | None:
    store = region.store.generation_store
    return store if isinstance(store, ServerStore) else None


def cluster_of(region: Region) -> str | None:
    """Return the name of the region on whose servers a region of files exchanges invalidations with
    other hosts. None: it has no cluster."""
    cluster = dict(region.options.backend).get("cluster")
    return None if cluster is None else str(cluster.name)


def statuses(
    wanted: Iterable[tuple[Region, str]],
) -> dict[tuple[Region, str], dict[str, str] | StoreUnavailableError]:
    """Return the status of servers (`ServerStore.status`), each of a region. All are queried at
    the same time, so many servers that do not answer take no longer than one. Never raises."""
    executor = ThreadPoolExecutor(MOST)
    queries = {each: executor.submit(_status, *each) for each in wanted}
    done, _ = wait(queries.values(), PATIENCE)
    executor.shutdown(wait=False, cancel_futures=True)
    late = f"no answer within {PATIENCE:g} s"
    return {
        (region, server): future.result()
        if future in done
        else StoreUnavailableError("server", f"{kind_of(region)} {server}: {late}")
        for (region, server), future in queries.items()
    }


def _status(region: Region, server: str) -> dict[str, str] | StoreUnavailableError:
    store = _store_of(region)
    assert store is not None, "it has a server"
    try:
        return store.status(server)
    except StoreUnavailableError as error:
        return error


def check_here(region: Region) -> list[Finding]:
    """Check the options, folders, room and files of a region on this host. Never raises."""
    return [
        Finding(region.name, subject, level, message)
        for subject, level, message in [
            *_options(region),
            *_pending(region),
            *_folders(region),
            *_room(region),
            *_files(region),
        ]
    ]


def check(
    regions: Iterable[Region],
    answers: Mapping[tuple[Region, str], dict[str, str] | StoreUnavailableError] | None = None,
) -> dict[Region, list[Finding]]:
    """Do the checks of `check_here` for each region, and check its servers. ``answers``: their
    `statuses`, if they are known. Never raises."""
    found = {region: check_here(region) for region in regions}
    if answers is None:
        answers = statuses((region, server) for region in found for server in servers_of(region))
    for (region, server), answer in answers.items():
        found[region] += [
            Finding(region.name, server, *each) for each in _server(region, server, answer)
        ]
    return found


def _options(region: Region) -> list[tuple[str, str, str]]:
    options = region.options
    found = []
    if not options.enabled:
        found.append(("enabled", "warning", "the region is off: every call runs its function"))
    if not options.secret:
        found.append(
            (
                "secret",
                "error",
                "not set: no process can use another's records; set the option cache.secret",
            )
        )
    return found or [("options", "ok", "nothing is wrong")]


def _pending(region: Region) -> list[tuple[str, str, str]]:
    """Check for invalidations that a store could not apply yet."""
    if region.options.data_dir is None:
        return []
    own = {region.name, *servers_of(region)}
    try:
        found = waiting(region.options.data_dir)
    except OSError:
        return []  # `_folders` reports the error
    return [
        (
            place,
            "warning",
            f"pending invalidations: {number}. They are applied before the store is read again",
        )
        for place, number in found.items()
        if any(place.endswith(name) for name in own)
    ]


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
        limit = _limit(region)
        room = f"{units.size(free.free)} free"
        if free.free < LEAST_FREE * free.total:
            found.append((folder, "warning", f"only {room}"))
        elif inodes.f_files and inodes.f_favail < LEAST_FREE * inodes.f_files:
            found.append((folder, "warning", f"only {inodes.f_favail} more files can be made"))
        elif limit and limit.bytes > free.total:
            found.append((folder, "warning", f"size_limit is larger than the disk; {room}"))
        else:
            found.append((folder, "ok", room))
    return found


def _limit(region: Region) -> SizeLimit | None:
    return region.store.size_limit if isinstance(region.store, FileStore) else None


def _room(region: Region) -> list[tuple[str, str, str]]:
    """Check how much of its size limit a region of files uses."""
    if not isinstance(region.store, FileStore):
        return []
    limit = _limit(region)
    if limit is None:
        return [("size_limit", "ok", "not set: the region may fill the disk")]
    most = units.size(limit.bytes)
    try:
        used = limit.in_use() or 0
    except OSError:
        return []  # `_folders` and `_files` report the error
    if used > NEARLY_FULL * limit.bytes:
        message = (
            f"{used / limit.bytes:.0%} of {most} is in use: entries are removed before they "
            f"expire; raise size_limit if there are too many loads, or if the source of imported "
            f"files may go away"
        )
        return [("size_limit", "warning", message)]
    return [("size_limit", "ok", f"{used / limit.bytes:.0%} of {most} is in use")]


def _files(region: Region) -> list[tuple[str, str, str]]:
    """Check for files that this user cannot write to, because another user made them."""
    store = region.store
    if not isinstance(store, FileStore):
        return []
    readonly = [path for path in maintenance.written_to(store) if not os.access(path, os.W_OK)]
    if not readonly:
        return []
    names = ", ".join(os.path.relpath(path, store.folder) for path in readonly[:NAMED])
    more = f" and {len(readonly) - NAMED} more" if len(readonly) > NAMED else ""
    message = (
        f"this user cannot write to {names}{more}: another user made them; run every command as "
        "the user of the site, or let both share the folder by its group (docs/operations.md)"
    )
    return [(str(store.folder), "error", message)]


def reason(server: str, error: StoreUnavailableError) -> str:
    """Return why a server is away, without its name."""
    return str(error).partition(f"{server}: ")[2] or str(error)


def _server(
    region: Region, server: str, answer: dict[str, str] | StoreUnavailableError
) -> list[tuple[str, str]]:
    if isinstance(answer, StoreUnavailableError):
        why = reason(server, answer)
        away = f"{kind_of(region)} is away: {why}. Calls of its entries load each time"
        return [("error", away)]
    store = _store_of(region)
    assert store is not None, "its server has answered"
    seconds = units.took(float(answer["answered_in"]))
    return [
        ("ok", f"{store.kind} {answer.get('version')} answers in {seconds}"),
        *store.remarks(answer),
    ]
