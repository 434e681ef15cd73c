"""Content in a files region: equal content once, what was altered never."""

from __future__ import annotations

import hashlib
import os
import resource
from typing import TYPE_CHECKING, cast

import pytest

from beaker_regions import CachedFile, Resumable
from beaker_regions.stores.files import incoming
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beaker_regions import CacheManager

CONTENT = os.urandom(300_000)


@pytest.fixture
def cache(files_manager: Manager) -> CacheManager:
    return files_manager()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "regions" / "functions"


def stored_bytes(folder: Path) -> int:
    """Return what the files of a folder take, each counted once however many names it has."""
    files = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("generations", "leases"):
            files[path.stat().st_ino] = path.stat().st_size
    return sum(files.values())


def test_content_that_another_process_has_replaced_is_found(cache: CacheManager) -> None:
    @cache.region("functions")
    def load() -> CachedFile:
        return cast("CachedFile", iter([CONTENT]))

    def replace() -> None:
        assert statuses([fork(lambda: load.reload().close())]) == [0]

    load().close()
    assert load.peek() is not None  # this process knows the record from now on
    replace()
    content = load.peek()
    assert content is not None
    assert content.read_bytes() == CONTENT
    replace()
    assert load.stored_digest() == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "value",
    [CONTENT, b"x" * (64 * 1024), "ü" * 100_000, "\ud800" * 100_000, [CONTENT]],
    ids=lambda value: f"{type(value).__name__}-{len(value)}",
)
def test_large_values_come_back_as_they_were(
    cache: CacheManager, calls: Calls, value: object
) -> None:
    @cache.region("functions")
    def load() -> object:
        calls()
        return value

    for _ in range(3):
        assert load() == value
        assert type(load()) is type(value)
    assert calls.count == 1


def test_equal_content_is_stored_once(cache: CacheManager, folder: Path) -> None:
    @cache.region("functions")
    def stream(number: int) -> Iterator[bytes]:
        yield CONTENT

    @cache.region("functions")
    def load(number: int) -> bytes:
        return CONTENT

    for number in range(5):
        assert stream(number).read_bytes() == CONTENT
        assert load(number) == CONTENT
    assert stored_bytes(folder) < 1.1 * len(CONTENT)


def test_content_is_removed_when_no_entry_has_it(cache: CacheManager, folder: Path) -> None:
    contents = {1: CONTENT, 2: CONTENT}

    @cache.region("functions")
    def load(number: int) -> Iterator[bytes]:
        yield contents[number]

    assert load(1).read_bytes() == load(2).read_bytes() == CONTENT
    contents[1] = b"short"
    assert load.refresh(1).read_bytes() == b"short"
    assert load(2).read_bytes() == CONTENT, "the other one still has it"
    contents[2] = b"short"
    assert load.refresh(2).read_bytes() == b"short"
    assert stored_bytes(folder) < 1000


def test_a_content_that_is_open_stays_readable(cache: CacheManager) -> None:
    contents = [CONTENT]

    @cache.region("functions")
    def load() -> Iterator[bytes]:
        yield contents[0]

    kept = load()
    contents[0] = b"new"
    assert load.refresh().read_bytes() == b"new"
    assert kept.read_bytes() == CONTENT


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "bytes"])
def test_an_overwritten_file_is_a_miss_and_is_loaded_again(
    cache: CacheManager, folder: Path, calls: Calls, streamed: bool
) -> None:
    @cache.region("functions")
    def load() -> Iterator[bytes] | bytes:
        calls()
        return iter([CONTENT]) if streamed else CONTENT

    def read() -> bytes:
        value: object = load()
        return value.read_bytes() if isinstance(value, CachedFile) else bytes(value)  # type: ignore[call-overload]

    assert read() == CONTENT
    (path,) = (folder / "content").rglob("*-*")
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(b"altered")
    assert read() == CONTENT
    assert calls.count == 2
    assert cache["functions"].stats["failed.unreadable"] == 1
    assert read() == CONTENT
    assert calls.count == 2


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "bytes"])
def test_content_that_a_disk_altered_is_a_miss_if_reads_are_verified(
    file_manager: Manager, folder: Path, calls: Calls, streamed: bool
) -> None:
    cache = file_manager(verify_reads=True)

    @cache.region("functions")
    def load() -> Iterator[bytes] | bytes:
        calls()
        return iter([CONTENT]) if streamed else CONTENT

    def read() -> bytes:
        value: object = load()
        return value.read_bytes() if isinstance(value, CachedFile) else bytes(value)  # type: ignore[call-overload]

    assert read() == read() == CONTENT
    assert calls.count == 1
    (path,) = (folder / "content").rglob("*-*")
    found = path.stat()
    with open(path, "r+b") as file:
        file.write(b"altered")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert read() == CONTENT
    assert calls.count == 2
    assert cache["functions"].stats["failed.unreadable"] == 1
    assert read() == CONTENT
    assert calls.count == 2


def test_the_content_of_another_entry_is_refused(
    cache: CacheManager, folder: Path, calls: Calls
) -> None:
    @cache.region("functions")
    def load(number: int) -> bytes:
        calls()
        return CONTENT + bytes([number])

    for number in range(2):
        load(number)
    first, second = (folder / "content").rglob("*-*")
    times = [path.stat() for path in (first, second)]
    swapped = folder / "swapped"
    first.rename(swapped)
    second.rename(first)
    swapped.rename(second)
    for path, found in zip((first, second), times, strict=True):
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    for number in range(2):
        assert load(number) == CONTENT + bytes([number])
    assert calls.count == 4


def test_content_is_never_held_in_memory(file_manager: Manager) -> None:
    cache = file_manager(durable=False)
    chunk, chunks = os.urandom(1 << 20), 256

    @cache.region("functions")
    def load() -> Iterator[bytes]:
        for number in range(chunks):
            yield b"%08d" % number + chunk[8:]

    def use() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        whole = load()
        assert whole.size == chunks << 20
        assert sum(map(len, whole.chunks())) == whole.size
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 10 * 1024, f"{grown} KB for 256 MB"

    assert statuses([fork(use)]) == [0]


def test_altered_content_is_not_shared(cache: CacheManager, folder: Path) -> None:
    @cache.region("functions")
    def load(number: int) -> Iterator[bytes]:
        yield CONTENT

    load(1)
    (path,) = (folder / "content").rglob("*-*")
    with open(path, "r+b") as file:
        file.write(b"altered")
    assert load(2).read_bytes() == CONTENT
    assert load(1).read_bytes() == CONTENT


def test_a_file_system_without_room_for_another_name(
    cache: CacheManager, folder: Path, calls: Calls
) -> None:
    """The second name is a saving; content is stored without it."""

    @cache.region("functions")
    def load(number: int) -> Iterator[bytes]:
        calls()
        yield CONTENT

    folder.mkdir(parents=True)
    (folder / "equal").touch()
    for _ in range(2):
        assert load(1).read_bytes() == CONTENT
        assert load(1).stored
    assert calls.count == 1


SMALL = os.urandom(3000)


def record_in(folder: Path) -> Path:
    (path,) = (path for path in (folder / "entries").rglob("*") if path.is_file())
    return path


def test_small_content_is_one_file_and_reads_as_any_other(
    cache: CacheManager, folder: Path, calls: Calls, tmp_path: Path
) -> None:
    @cache.region("functions")
    def load() -> Iterator[bytes]:
        calls()
        return iter([SMALL[:1000], SMALL[1000:]])

    for _ in range(2):
        found = load()
        assert (found.size, found.stored) == (len(SMALL), True)
        assert found.digest == load.stored_digest() == hashlib.sha256(SMALL).hexdigest()
        assert found.read_bytes() == b"".join(found.chunks()) == SMALL
        with found.open() as first, found.open() as second:
            assert (first.seek(2990), first.read()) == (2990, SMALL[2990:])
            assert (second.read(3), second.peek(1)[:1]) == (SMALL[:3], SMALL[3:4])
    assert calls.count == 1
    assert [path.parent.parent for path in folder.glob("*/??/*")] == [folder / "entries"]
    load.invalidate()
    load.refresh()
    found.close()
    assert found.read_bytes() == SMALL, "it stays readable"


def test_a_path_of_small_content_is_a_file_of_its_own(cache: CacheManager, folder: Path) -> None:
    contents = [SMALL]

    @cache.region("functions")
    def load() -> Iterator[bytes]:
        return iter(contents)

    path = load().path
    assert path.read_bytes() == SMALL
    assert path.is_relative_to(folder)
    path.write_bytes(b"altered")
    with open(load(), "rb") as file:
        assert file.read() == SMALL, "it is made again"
    assert load().path == path
    contents[0] = b"new"
    assert load.refresh().path.read_bytes() == b"new"
    assert not path.exists(), "it goes with its entry"


@pytest.mark.parametrize("at", [-1, -3000, -3001, 3], ids="byte {}".format)
def test_an_altered_byte_of_small_content_is_a_miss_and_is_loaded_again(
    cache: CacheManager, folder: Path, calls: Calls, at: int
) -> None:
    @cache.region("functions")
    def load() -> Iterator[bytes]:
        calls()
        return iter([SMALL])

    for _ in range(3):
        load()  # and then this process knows it
    stored = bytearray(record_in(folder).read_bytes())
    stored[at] ^= 1
    record_in(folder).write_bytes(stored)
    assert load().read_bytes() == load().read_bytes() == SMALL
    assert calls.count == 2


@pytest.mark.parametrize("left", [-1, -2999, -3001, 200, 90, 75, 20, 2])
def test_small_content_that_was_cut_short_is_a_miss_and_is_loaded_again(
    cache: CacheManager, folder: Path, calls: Calls, left: int
) -> None:
    @cache.region("functions")
    def load() -> Iterator[bytes]:
        calls()
        return iter([SMALL])

    for _ in range(3):
        load()
    record_in(folder).write_bytes(record_in(folder).read_bytes()[:left])
    assert load.stored_digest() is None
    assert load().read_bytes() == load().read_bytes() == SMALL
    assert calls.count == 2


def test_large_content_can_become_small_and_large_again(cache: CacheManager, folder: Path) -> None:
    contents = [CONTENT]

    @cache.region("functions")
    def load() -> Iterator[bytes]:
        return iter(contents)

    assert load().read_bytes() == CONTENT
    for content in (SMALL, CONTENT, SMALL):
        contents[0] = content
        assert load.refresh().read_bytes() == load().read_bytes() == content
        in_files = [path for path in (folder / "content").rglob("*") if path.is_file()]
        assert len(in_files) == (content is CONTENT)


def test_many_digests_at_once_are_those_of_single_calls(
    cache: CacheManager, folder: Path, calls: Calls
) -> None:
    @cache.region("functions", tags=["tag of {number}"])
    def load(number: int, size: int = 3000) -> Iterator[bytes]:
        calls()
        return iter([b"%d" % number * size])

    for number in range(8):
        load(number)
    load(8, 300_000)
    load.invalidate(1)
    cache.invalidate_tags("tag of 2")
    spoiled = folder / "entries" / load.entry(3).address.hex()[:2] / load.entry(3).address.hex()[2:]
    spoiled.write_bytes(spoiled.read_bytes()[:-1])
    given = [*range(9), (8, 300_000), (0, 3000)]
    digests = load.stored_digests(given)
    assert [at for at, digest in enumerate(digests) if digest is None] == [1, 2, 3, 8]
    assert digests == [
        load.stored_digest(*(each if isinstance(each, tuple) else (each,))) for each in given
    ]
    assert digests[0] == hashlib.sha256(b"0" * 3000).hexdigest()
    load.invalidate_all()
    assert load.stored_digests(given) == [None] * len(given)
    assert calls.count == 9


class Download(Resumable):
    """Content of another server, whose connection breaks once."""

    def __init__(self, content: bytes, asked: list[int], *, anew: bool) -> None:
        self._content, self._asked, self._anew = content, asked, anew

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        self._asked.append(have)
        for at in range(0 if self._anew else have, len(self._content), 1000):
            if len(self._asked) == 1 and at == 3000:
                raise ConnectionResetError("in the middle")
            yield at, self._content[at : at + 1000]

    def verify(self, size: int, digest: str) -> None:
        assert (size, digest) == (len(self._content), hashlib.sha256(self._content).hexdigest())


class Overtaken(Download):
    """Content of which another load gets the first 3000 bytes before this one breaks off, too."""

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        self._asked.append(have)
        other = Download(self._content, [], anew=False)
        folder, address = self.into
        with (
            pytest.raises(ConnectionResetError),
            incoming.received(folder, address, other, bytes(16), 10_000),
        ):
            pass
        yield 0, self._content[: self.own]
        raise ConnectionResetError("too")

    into: tuple[Path, bytes]
    own: int


@pytest.mark.parametrize(
    ("own", "small", "left"),
    [(1000, 10_000, 3000), (4000, 10_000, 4000), (4000, 2000, 4000), (2500, 2000, 3000)],
    ids=["sooner", "later", "later, in a file", "sooner, in a file"],
)
def test_of_two_transfers_that_break_off_the_longer_one_is_continued(
    tmp_path: Path, own: int, small: int, left: int
) -> None:
    asked: list[int] = []
    first = Overtaken(CONTENT[:5000], asked, anew=False)
    first.into, first.own = (tmp_path, bytes(20)), own
    with (
        pytest.raises(ConnectionResetError),
        incoming.received(tmp_path, bytes(20), first, bytes(16), small),
    ):
        pass
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [left]
    second = Download(CONTENT[:5000], asked, anew=False)
    with incoming.received(tmp_path, bytes(20), second, bytes(16), 10_000) as received:
        assert received.small == CONTENT[:5000]
    assert asked == [0, left]


@pytest.mark.parametrize("soon", [incoming.SOON, 0.0], ids=["at once", "slowly"])
@pytest.mark.parametrize("anew", [False, True], ids=["continued", "sent anew"])
@pytest.mark.parametrize("content", [CONTENT[:5000], CONTENT], ids=["small", "large"])
def test_an_interrupted_transfer_continues_whatever_its_size(
    cache: CacheManager,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    anew: bool,
    soon: float,
) -> None:
    monkeypatch.setattr(incoming, "SOON", soon)
    asked: list[int] = []

    @cache.region("functions")
    def load() -> Resumable:
        return Download(content, asked, anew=anew)

    assert load.have_parts([()]) == [False]
    with pytest.raises(ConnectionResetError):
        load()
    assert load.have_parts([()]) == [True]
    assert load().read_bytes() == load().read_bytes() == content
    assert asked == [0, 3000]
    assert load().in_memory == (content is not CONTENT)
    assert list((folder / "incoming").iterdir()) == []
    assert load.have_parts([()]) == [False]
