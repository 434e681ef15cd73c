"""Bytes that somebody else put into a store: nothing of them is used, whatever they are made of.

Who can write to a store, and can have the application store content of his choice, has genuine
records to make others of. He may cut them anywhere, join the pieces in any order, and put them
under any address of any store that has the same secret.
"""

from __future__ import annotations

import itertools
import os
import pickle
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beaker_regions.entries import records
from beaker_regions.entries.records import (
    ADDRESS_SIZE,
    Codec,
    OtherFormatError,
    Record,
    RecordRefusedError,
    Signer,
    dump_value,
    load_value,
)
from tests.beaker_regions.conftest import Manager, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from beaker_regions import CacheManager
    from beaker_regions.stores.files.store import FileStore

SEALED = 20
"""Bytes of the magic and the code."""

_ran: list[str] = []


def harm() -> None:
    _ran.append("harm")


class Harmful:
    """Calls `harm` when it is unpickled."""

    def __reduce__(self) -> Any:
        return harm, ()


def rotated(sealed: bytes) -> Iterator[bytes]:
    """Yield a record with its bytes behind the code cut in two, the second piece first."""
    head, rest = sealed[:SEALED], sealed[SEALED:]
    for at in range(1, len(rest)):
        yield head + rest[at:] + rest[:at]


def test_content_that_was_sealed_once_does_not_become_a_pickle(
    file_manager: Manager, tmp_path: Path
) -> None:
    content = b"nothing yet"

    @file_manager().region("functions")
    def load() -> bytes:
        return content

    load()
    (path,) = (tmp_path / "regions" / "functions" / "entries").glob("*/*")
    store = cast("FileStore", file_manager()["functions"].store)
    present = store.signer.open(bytes.fromhex(path.parent.name + path.name), path.read_bytes())
    codec, payload = dump_value(Harmful())
    wanted = present._replace(codec=codec, payload=payload)
    # All of a record but its code, which only the application can make.
    forged = Signer(["of the attacker"], "file").seal(bytes(ADDRESS_SIZE), wanted)[SEALED:]
    for count in range(32):
        for size in range(1, 5):
            # What stands before a border may have to tell where it is.
            content = bytes([count]) * size + forged
            path.unlink()
            load()
            stored = path.read_bytes()
            at = stored.index(forged)
            path.write_bytes(stored[:SEALED] + stored[at:] + stored[SEALED:at])
            assert load.peek() is None
    assert not _ran
    assert load() == content


def streamed() -> Iterator[bytes]:
    return iter([b"streamed"] * 10)


def sealed_by(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return what a region seals of every kind of value: the signer, the address, the bytes."""
    made: list[tuple[Any, ...]] = []
    seal = Signer.seal

    def noted(self: Signer, address: bytes, record: Record) -> bytes:
        sealed = seal(self, address, record)
        made.append((self, address, sealed))
        return sealed

    def load(kind: str) -> Any:
        return {
            "row": (1, "text"),
            "bytes": b"bytes" * 10,
            "text": "text" * 10,
            "page": "page" * 20_000,
            "parts": os.urandom(2_500_000),
        }[kind]

    monkeypatch.setattr(Signer, "seal", noted)
    function = cache.region("functions", tags=["t{kind}"])(load)
    for kind in ("row", "bytes", "text", "page", "parts"):
        function(kind)
    if cache["functions"].options.type != "memory":
        cache.values("functions", "carts").set(1, ("apples",))
    if cache["functions"].options.type == "file":
        cache.region("functions")(streamed)()
    monkeypatch.undo()
    return made


KINDS = ("file", "cluster", "memcached", "memory")


@pytest.fixture(params=KINDS)
def each_cache(request: pytest.FixtureRequest) -> CacheManager:
    if request.param == "memory":
        return make_manager(type="memory", secret="of the tests")
    make: Callable[..., CacheManager] = request.getfixturevalue(f"{request.param}_manager")
    return make()


def test_no_border_of_any_kind_of_record_can_be_moved(
    each_cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sealed_by(each_cache, monkeypatch)
    assert {signer.open(address, sealed).codec for signer, address, sealed in made} >= {
        Codec.PICKLE,
        Codec.BYTES,
        Codec.TEXT,
    }
    for signer, address, sealed in made:
        forged = [(address, each) for each in rotated(sealed[:600])]
        for size in range(1, ADDRESS_SIZE):
            head, rest = sealed[:SEALED], sealed[SEALED:]
            forged += [
                (address[:-size], head + address[-size:] + rest),
                (address + rest[:size], head + rest[size:]),
                (address[size:] + rest[:size], head + address[:size] + rest[size:]),
                (address[size:] + rest[:size], head + rest[size:] + address[:size]),
            ]
        for elsewhere, bytes_ in forged:
            with pytest.raises(RecordRefusedError):
                signer.open(elsewhere, bytes_)


def test_a_record_of_one_kind_of_store_is_refused_by_another(
    file_manager: Manager, memcached_manager: Manager
) -> None:
    """All have one secret, and name entries alike."""
    memory = make_manager(type="memory", secret="of the tests")
    caches = (memory, file_manager(), memcached_manager())
    signers = [cast("Any", cache["functions"].store).signer for cache in caches]
    record = Record((), 1.0, 2.0, 0.0, Codec.BYTES, b"payload")
    for one, other in itertools.permutations(signers, 2):
        with pytest.raises(RecordRefusedError):
            other.open(bytes(ADDRESS_SIZE), one.seal(bytes(ADDRESS_SIZE), record))


@given(
    st.binary(max_size=60),
    st.lists(st.integers(0, 200), max_size=4),
    st.randoms(use_true_random=False),
)
def test_pieces_of_a_record_make_no_other_record(
    payload: bytes, cuts: list[int], random: Any
) -> None:
    signer, address = Signer(["secret"], "file"), b"a" * ADDRESS_SIZE
    record = Record((b"12345678",) * 2, 1.0, 2.0, 0.0, Codec.BYTES, payload, b"scopes")
    sealed = signer.seal(address, record)
    whole = address + sealed[SEALED:]
    ends = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in itertools.pairwise(ends)]
    random.shuffle(pieces)
    joined = b"".join(pieces)
    for size in range(len(joined) + 1):
        forged = joined[:size], sealed[:SEALED] + joined[size:]
        if forged != (address, sealed):
            with pytest.raises(RecordRefusedError):
                signer.open(*forged)


@given(st.text("ab\0", max_size=5), st.text("ab\0", max_size=5))
def test_a_kind_differs_from_every_other(one: str, other: str) -> None:
    record = Record((), 1.0, 2.0, 0.0, Codec.BYTES, b"")
    sealed = Signer(["secret"], one).seal(bytes(ADDRESS_SIZE), record)
    if one != other:
        with pytest.raises(RecordRefusedError):
            Signer(["secret"], other).open(bytes(ADDRESS_SIZE), sealed)


@pytest.mark.parametrize("codec", [len(Codec), 77, 255])
def test_a_codec_that_is_not_known_is_refused(codec: Any) -> None:
    """It is of a later release, which has the same secret."""
    signer = Signer(["secret"], "file")
    sealed = signer.seal(bytes(ADDRESS_SIZE), Record((), 1.0, 2.0, 0.0, codec, b""))
    with pytest.raises(RecordRefusedError):
        signer.open(bytes(ADDRESS_SIZE), sealed)


def test_records_of_a_former_format_are_misses_and_no_failures(
    each_cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    @each_cache.region("functions")
    def function() -> str:
        return "of the new release"

    with monkeypatch.context() as former:
        former.setattr(records, "MAGIC", b"BRG\x01")
        function()
    assert function.peek() is None
    assert function() == function.peek() == "of the new release"
    counts = each_cache["functions"].stats.snapshot()
    assert not [event for event in counts if event.startswith("failed.")]


def test_an_entry_may_have_many_tags(each_cache: CacheManager) -> None:
    """As many as a record can name: a page that shows a thousand rows has one for each."""
    tags = [f"row-{number}" for number in range(1000)]

    @each_cache.region("functions", tags=lambda: tags)
    def function() -> str:
        return "value"

    assert function() == function.peek() == "value"
    each_cache.invalidate_tags("row-999")
    assert function.peek() is None


def test_a_record_that_is_cut_anywhere_is_not_taken_for_another_releases() -> None:
    signer, address = Signer(["secret"], "file"), bytes(ADDRESS_SIZE)
    sealed = signer.seal(address, Record((), 1.0, 2.0, 0.0, Codec.BYTES, b"value"))
    for size in range(len(sealed)):
        with pytest.raises(RecordRefusedError) as refused:
            signer.open(address, sealed[:size])
        assert not isinstance(refused.value, OtherFormatError), size


def test_records_of_other_formats_are_not_unpickled() -> None:
    signer = Signer(["secret"], "file")
    with pytest.raises(OtherFormatError):
        signer.open(bytes(ADDRESS_SIZE), b"BRG\x01" + bytes(40) + pickle.dumps(Harmful()))
    assert not _ran
    with pytest.raises(ValueError, match="no value of its own"):
        load_value(Record((), 1.0, 2.0, 0.0, Codec.FILE, pickle.dumps(Harmful())))
