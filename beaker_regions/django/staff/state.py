"""The state of the regions and their servers now, and what is wrong with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from beaker_regions.django.cli import reports, tuning
from beaker_regions.django.cli.reports import Report
from beaker_regions.engine.region import Region, all_regions
from beaker_regions.errors import StoreUnavailableError
from beaker_regions.reports import health
from beaker_regions.reports.health import Finding
from beaker_regions.reports.metrics import Activity
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore

PATIENCE = 0.5
"""Seconds for counting the files of a folder."""


class Server(NamedTuple):
    """A server of a region."""

    address: str
    error: str
    """Empty if it answers."""
    used: int = 0
    """Bytes that its items take."""
    limit: int = 0
    """Bytes that its items may take."""
    items: int = 0
    evictions: int = 0
    uptime: int = 0
    """Seconds."""


def regions_and_servers(done: Iterable[Activity]) -> tuple[list[Report], list[Server]]:
    """Return the regions with their findings and the sums of ``done``, and their servers."""
    activities = list(done)
    answers = health.statuses(
        (region, server) for region in all_regions() for server in health.servers_of(region)
    )
    regions = [
        reports.described(region)
        | _room(region)
        | reports.total(each for each in activities if each.region == region.name)
        | {"options": _options(region), "findings": findings}
        for region, findings in health.check(all_regions(), answers).items()
    ]
    servers = {address: _server(address, answer) for (_, address), answer in answers.items()}
    return regions, [server for _, server in sorted(servers.items())]


def problems(regions: Iterable[Report]) -> list[Finding]:
    """Return what is wrong, the worst first. What several regions have in common is named once."""
    found = [finding for region in regions for finding in region["findings"]]
    wrong = [finding for finding in [*found, *tuning.outbox()] if finding.level != "ok"]
    once = {(finding.subject, finding.message): finding for finding in wrong}
    return sorted(once.values(), key=lambda finding: finding.level != "error")


def _server(address: str, answer: dict[str, str] | StoreUnavailableError) -> Server:
    if isinstance(answer, StoreUnavailableError):
        return Server(address, health.reason(address, answer))
    numbers = {
        "used": "bytes",
        "limit": "limit_maxbytes",
        "items": "curr_items",
        "evictions": "evictions",
        "uptime": "uptime",
    }
    return Server(
        address, "", **{field: int(answer.get(name, 0)) for field, name in numbers.items()}
    )


def _room(region: Region) -> Report:
    """Return the number of entries of a region of files, whether it is exact, and their size."""
    store = region.store
    if not isinstance(store, FileStore):
        return {}
    found: Report = {}
    with contextlib.suppress(OSError):  # health reports it
        entries, is_exact = maintenance.number_of_entries(store, PATIENCE)
        found |= {"entries": entries, "is_exact": is_exact}
        found["size"] = store.size_limit.in_use() if store.size_limit is not None else None
    return found


def _options(region: Region) -> dict[str, Any]:
    """Return the options except type and expiry, without secrets and passwords."""
    options = region.options
    own = {key: value for key, value in options.backend if key not in ("url", "password")}
    return {
        "early": f"{options.early:g}",
        "lease": f"{options.lease:g} s",
        "data_dir": options.data_dir,
        "secret": "set" if options.secret else "none",
        **own,
    }
