"""What is on disk, and in which order: observed from outside, by strace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from beaker_regions.stores.files import content as content_files
from beaker_regions.stores.files import maintenance
from beaker_regions.stores.files.store import FileStore
from tests.beaker_regions.conftest import make_manager

PROGRAM = """
import sys
from pathlib import Path
from tests.beaker_regions.conftest import make_manager

cache = make_manager(
    type="file", data_dir=Path(sys.argv[1]), secret="of the tests", durable=sys.argv[2]
)

@cache.region("functions")
def stream(number):
    yield b"content" * 10_000

@cache.region("functions")
def small(number):
    yield b"content"

@cache.region("functions")
def load(number):
    return number

load(1)
stream(1)
stream(2)
small(1)
"""


class Event(NamedTuple):
    call: str
    """"rename", "link" or "sync"."""
    source: str
    """Of a rename or link, the former path, below the region's folder."""
    path: str


def observe(folder: Path, durable: bool) -> list[Event]:
    """Store entries in another process; return what it asked of the file system."""
    trace = folder / "trace"
    calls = "rename,renameat,renameat2,link,linkat,fsync,fdatasync"
    strace = ["strace", "-f", "-y", "-qq", "-s", "999", "-e", f"trace={calls}", "-o", str(trace)]
    program = [sys.executable, "-c", PROGRAM, str(folder), str(durable)]
    root = Path(__file__).parents[4]
    subprocess.run([*strace, *program], check=True, cwd=root)
    events = []
    begun: dict[str, str] = {}  # by thread: a call during which another thread's was noted
    for line in trace.read_text().splitlines():
        thread, _, text = line.partition(" ")
        text = text.lstrip()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text
            continue
        if text.startswith("<... "):
            text = begun.pop(thread) + text
        if not text.endswith("= 0"):
            continue  # it failed
        call, *paths = re.findall(rf"(\w+)\(|{folder}/functions/([^\s\">]+)", text)
        if paths:
            kind = re.sub(r"(rename|link).*|f.*sync", r"\1", call[0]) or "sync"
            events.append(Event(kind, paths[0][1], paths[-1][1]))
    return events


def synced(path: str) -> Event:
    return Event("sync", path, path)


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def test_content_is_on_disk_with_its_record_when_it_has_been_stored(tmp_path: Path) -> None:
    events = observe(tmp_path, durable=True)
    contents = [event for event in events if re.match("content/../", event.path)]
    cheap, *records = [
        event for event in events if event.call == "rename" and event.path[:8] == "entries/"
    ]
    assert len(records) == 3, "small content is in its record"
    for record in records:
        published = events.index(record)
        assert synced(record.source) in events[:published]
        assert synced(folder_of(record.path)) in events[published:]
    for content, record in zip(contents, records, strict=False):
        named, published = events.index(content), events.index(record)
        assert synced(content.source) in events[:named]
        assert synced(folder_of(content.path)) in events[named:published]
    assert [content.call for content in contents] == ["rename", "link"], "equal content once"
    assert synced(cheap.source) not in events, "what is cheap to load is not synced"


def test_nothing_is_synced_where_speed_matters_more(tmp_path: Path) -> None:
    events = observe(tmp_path, durable=False)
    assert [event for event in events if event.path.startswith("content/")]
    table, mark = [event.path for event in events if event.call == "sync"]
    assert table.startswith(".generations.")
    assert mark.startswith(".generations.mark.")


@pytest.mark.usefixtures("nothing_in_background")
def test_content_that_was_not_synced_is_not_used_after_a_restart_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_manager(type="file", data_dir=tmp_path, secret="of the tests", durable=False)
    loads = []

    @cache.region("functions")
    def stream() -> object:
        loads.append(1)
        return iter([b"content" * 10_000])

    for run in (b"1" * 16, b"2" * 16):
        monkeypatch.setattr(content_files, "this_run", lambda run=run: run)
        for _ in range(2):
            assert stream().read_bytes() == b"content" * 10_000  # type: ignore[attr-defined]
    assert len(loads) == 2
    monkeypatch.setattr(content_files, "this_run", lambda: b"3" * 16)
    store = cache["functions"].store
    assert isinstance(store, FileStore)
    assert list(maintenance.verify(store)) == []
    assert maintenance.sweep(store).entries == 1
