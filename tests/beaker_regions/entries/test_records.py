"""Records: what is sealed comes back, and nothing else does."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beaker_regions.entries.records import (
    Codec,
    Record,
    RecordRefusedError,
    Signer,
    dump_value,
    load_value,
    with_content,
)

ADDRESS = b"a" * 20
SIGNER = Signer(["secret"], "file")

records = st.builds(
    Record,
    generations=st.lists(st.binary(min_size=8, max_size=8), max_size=6).map(tuple),
    stored_at=st.floats(0, 1e11),
    expire=st.floats(0, 1e11) | st.just(float("inf")),
    load_seconds=st.floats(0, 1e6, width=32),
    codec=st.sampled_from([codec for codec in Codec if codec is not Codec.CONTENT]),
    payload=st.binary(max_size=300),
    turn=st.binary(min_size=8, max_size=8),
)
with_contents = st.builds(
    lambda record, description, content: record._replace(
        codec=Codec.CONTENT, payload=with_content(description, content)
    ),
    records,
    st.binary(max_size=200),
    st.just(b"content"),
)


@given(records | with_contents, st.binary(min_size=20, max_size=20))
def test_a_record_comes_back_as_it_was(record: Record, address: bytes) -> None:
    assert SIGNER.open(address, SIGNER.seal(address, record)) == record


@given(records, st.data())
def test_a_changed_bit_is_refused(record: Record, data: st.DataObject) -> None:
    sealed = bytearray(SIGNER.seal(ADDRESS, record))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, bytes(sealed))


@given(records, st.data())
def test_a_record_cut_short_is_refused(record: Record, data: st.DataObject) -> None:
    sealed = SIGNER.seal(ADDRESS, record)
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, sealed[: data.draw(st.integers(0, len(sealed) - 1))])


@given(with_contents, st.data())
def test_of_a_record_with_content_all_but_the_content_is_covered(
    record: Record, data: st.DataObject
) -> None:
    sealed = bytearray(SIGNER.seal(ADDRESS, record))
    covered = len(sealed) - len(b"content")
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, bytes(sealed[: data.draw(st.integers(0, covered - 1))]))
    sealed[data.draw(st.integers(0, covered - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, bytes(sealed))


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(foreign: bytes) -> None:
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, foreign)


def record_of(value: Any) -> Record:
    codec, payload = dump_value(value)
    return Record((), 1.0, 2.0, 0.0, codec, payload)


def test_a_record_moved_to_another_entry_is_refused() -> None:
    sealed = SIGNER.seal(ADDRESS, record_of("mine"))
    with pytest.raises(RecordRefusedError):
        SIGNER.open(b"b" * 20, sealed)


def test_a_record_of_another_secret_is_refused() -> None:
    sealed = Signer(["other"], "file").seal(ADDRESS, record_of("value"))
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, sealed)


def test_a_rotated_secret_still_opens() -> None:
    sealed = SIGNER.seal(ADDRESS, record_of("value"))
    rotated = Signer(["new", "secret"], "file")
    assert load_value(rotated.open(ADDRESS, sealed)) == "value"
    with pytest.raises(RecordRefusedError):
        SIGNER.open(ADDRESS, rotated.seal(ADDRESS, record_of("value")))


class _Harmful:
    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_a_pickle_that_is_not_sealed_is_never_run() -> None:
    harmful = pickle.dumps(_Harmful())
    good = SIGNER.seal(ADDRESS, record_of(1))
    for forged in (harmful, good[:4] + harmful, good[:42] + harmful):
        with pytest.raises(RecordRefusedError):
            SIGNER.open(ADDRESS, forged)


@given(st.binary() | st.text() | st.none() | st.lists(st.integers() | st.text()))
def test_values_keep_value_and_type(value: Any) -> None:
    found = load_value(record_of(value))
    assert found == value
    assert type(found) is type(value)
