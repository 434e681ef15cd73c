"""Records that a checkout stored while the package was called `regions`: they are misses.

`former_checkout.tar.xz` holds the data folder of that checkout, made by its own code: values,
content, a generation table, a counter, a pending invalidation, counts and their history; and, in
``memcached.json``, what it had stored on a memcached server. The values would not expire for 30
years.
"""

from __future__ import annotations

import json
import logging
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import memcache
import pytest

from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.entries import records
from beaker_regions.reports import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Memcached

ARCHIVE = Path(__file__).with_name("former_checkout.tar.xz")
REGIONS = ["files", "servers"]


@pytest.fixture
def former(tmp_path: Path, memcached: Memcached) -> CacheManager:
    """Return a manager on the data folder and the server of the former checkout."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    stored = json.loads((tmp_path / "memcached.json").read_text())
    pending = tmp_path / "undelivered"
    (pending / quote(stored["address"], safe="")).rename(
        pending / quote(memcached.address, safe="")
    )
    client = memcache.Client([memcached.address])
    for key, item in stored["items"].items():
        assert client.set(key, bytes.fromhex(item))
    client.disconnect_all()
    return CacheManager(
        **parse_cache_config_options(
            {
                "cache.regions": REGIONS,
                "cache.files.type": "file",
                "cache.servers.type": "ext:memcached",
                "cache.servers.url": memcached.address,
                "cache.servers.timeout": 10,
                "cache.data_dir": tmp_path,
                "cache.secret": "of the tests",
                "cache.expire": 10**9,
            }
        )
    )


class Functions:
    """The functions of the former checkout's application, under their names."""

    def __init__(self, cache: CacheManager, region: str) -> None:
        self.loads: list[object] = []

        def listed(a: int) -> Any:
            self.loads.append(a)
            return {"number": a}

        def text(a: int) -> Any:
            self.loads.append(a)
            return "y" * a

        for function in (listed, text):
            function.__module__, function.__qualname__ = "application", function.__name__
        self.listed = cache.region(region, tags=["t{a}"])(listed)
        self.text = cache.region(region)(text)


@pytest.mark.parametrize("region", REGIONS)
def test_former_records_are_misses(
    former: CacheManager, region: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    functions = Functions(former, region)
    for _ in range(2):
        assert functions.listed(1) == {"number": 1}
        assert functions.text(3) == "yyy"
        assert functions.text(70000) == "y" * 70000
    assert functions.loads == [1, 3, 70000]
    functions.listed.invalidate(1)
    former.invalidate_tags("t1")
    assert functions.listed(1) == {"number": 1}
    assert functions.loads == [1, 3, 70000, 1]
    assert not caplog.records


def test_former_content_is_loaded_and_replaced(former: CacheManager) -> None:
    def content(a: int) -> Iterator[bytes]:
        return iter([b"new" * a])

    content.__module__, content.__qualname__ = "application", "content"
    cached: Any = former.region("files")(content)
    assert cached(5).read_bytes() == b"new" * 5


@pytest.mark.parametrize("region", REGIONS)
def test_former_counters_count_on(former: CacheManager, region: str) -> None:
    assert former.counter(region, "n", 1, expire=60).add(1) in (1, 4)


def test_former_counts_are_read(former: CacheManager, tmp_path: Path) -> None:
    folder = tmp_path / ".metrics"
    functions = Functions(former, "files")
    functions.listed(1)
    metrics.bring_up_to_date(folder)
    assert metrics.collect(folder)
    metrics.slowest_loads(folder)
    metrics.invalidations(folder)


def sealed_records(folder: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield type, address and bytes of every record in the data folder and on the server."""
    for path in (folder / "files" / "entries").glob("*/*"):
        yield "file", bytes.fromhex(path.parent.name + path.name), path.read_bytes()
    for key, item in json.loads((folder / "memcached.json").read_text())["items"].items():
        if bytes.fromhex(item).startswith(b"BRG"):
            address = bytes.fromhex(key.removeprefix("brg1:"))
            yield "ext:memcached", address, bytes.fromhex(item)


@pytest.mark.usefixtures("former")
def test_the_records_are_genuine_and_of_another_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(sealed_records(tmp_path))
    assert {kind for kind, _, _ in found} == {"file", "ext:memcached"}
    for kind, address, sealed in found:
        with pytest.raises(records.OtherFormatError):
            records.Signer(["of the tests"], kind).open(address, sealed)
    monkeypatch.setattr(records, "MAGIC", b"BRG\x03")
    for kind, address, sealed in found:
        with pytest.raises(records.RecordRefusedError, match="not sealed"):
            records.Signer(["of the tests"], kind).open(address, sealed)
    monkeypatch.setattr(records, "_DOMAIN", b"regions.records")
    for kind, address, sealed in found:
        assert records.Signer(["of the tests"], kind).open(address, sealed).expire == 10**9
