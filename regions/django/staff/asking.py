"""The health of the regions, within a time that a page may take."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from regions import health
from regions.health import Finding
from regions.region import all_regions

if TYPE_CHECKING:
    from regions.region import Region

PATIENCE = 2.0
"""Seconds, for all servers together: they are asked at the same time."""
MOST = 16
"""Servers that are asked at the same time."""


def findings() -> dict[Region, list[Finding]]:
    """Look at what every region needs; a server that hangs is one that does not answer."""
    found = {region: health.check_here(region) for region in all_regions()}
    executor = ThreadPoolExecutor(MOST)
    asked = {
        executor.submit(health.check_server, region, server): (region, server)
        for region in found
        for server in health.servers_of(region)
    }
    done, _ = wait(asked, PATIENCE)
    executor.shutdown(wait=False, cancel_futures=True)
    for future, (region, server) in asked.items():
        if future in done:
            found[region] += future.result()
        else:
            message = f"no answer within {PATIENCE:g} s"
            found[region].append(Finding(region.name, server, "error", message))
    return found
