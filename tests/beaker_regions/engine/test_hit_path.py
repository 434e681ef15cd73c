"""The path of a hit: the modules of the library that a reader has to know."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import beaker_regions
from tests.beaker_regions.conftest import make_manager

if TYPE_CHECKING:
    from types import FrameType

    from tests.servers import Memcached

LIBRARY = Path(beaker_regions.__file__).parent
MOST_MODULES = 10


def listed(number: int) -> list[int]:
    return [number]


def modules_of_a_hit(cached: Any) -> set[str]:
    """Return the modules of the library whose code a call runs."""
    modules: set[str] = set()

    def profile(frame: FrameType, event: str, arg: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(LIBRARY):
            modules.add(str(path.relative_to(LIBRARY)))

    former = sys.getprofile()
    sys.setprofile(profile)
    try:
        cached(1)
    finally:
        sys.setprofile(former)
    return modules


@pytest.mark.parametrize("servers", [1, 2])
def test_a_hit_passes_few_modules(
    memcached: Memcached, own_memcached: Memcached, tmp_path: Path, servers: int
) -> None:
    addresses = [memcached.address, own_memcached.address][:servers]
    options = {"type": "ext:memcached", "url": ";".join(addresses), "secret": "of the tests"}
    cached = make_manager(**options, data_dir=tmp_path).region("functions")(listed)
    for _ in range(3):  # it is loaded, opened, and known
        cached(1)
    # The first hit in a second also ends the samples of the second before.
    shortest = min((modules_of_a_hit(cached) for _ in range(5)), key=len)
    assert len(shortest) <= MOST_MODULES, sorted(shortest)
    assert "stores/servers/server.py" in shortest
