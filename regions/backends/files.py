"""Entries as files: one record an entry, and beside it, for content, one raw file.

Layout of a store's folder::

    generations             what is current (`regions.generations`)
    leases                  who is loading (`regions.file_leases`)
    entries/ab/cdef…        sealed records; two levels, so that no folder grows too large
    content/ab/cdef…-12ab   raw content of an entry (`regions.backends.content_files`)
    equal/ab/cdef…          the same files once more, by their content's digest
    incoming/               files being written
    usage                   bytes in use (`regions.backends.size_limit`)

A file is written under ``incoming`` and renamed into place, so a reader finds a whole one or
none. A record is checked as a whole at every read and needs nothing more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regions.backends.content_files import ContentFiles, Description
from regions.backends.file_writing import arriving, move, reported
from regions.backends.size_limit import SizeLimit
from regions.content import CachedFile, content_chunks, is_content, keep_open
from regions.errors import StoreUnavailable
from regions.file_leases import FileLeases
from regions.generations import GenerationTable
from regions.records import Codec, Record, RecordRefused, Signer
from regions.store import Entry, Reading, Store, dump
from regions.undelivered import Undelivered

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGE = 64 * 1024
"""Bytes; bytes and texts from this size on are content, which costs no more than reading it."""


class FileStore(Store):
    """A region's entries in one folder, shared by all threads and processes of a host."""

    def __init__(self, folder: Path, signer: Signer, size_limit: int | None = None) -> None:
        self.folder = folder
        self.size_limit = None if size_limit is None else SizeLimit(self, size_limit)
        self.content = ContentFiles(folder)
        self._signer = signer
        self._entries = str(folder / "entries")
        self._incoming = folder / "incoming"
        self._generations = GenerationTable(folder / "generations")
        self._leases = FileLeases(folder / "leases")
        self._undelivered = Undelivered()

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Reading:
        with reported("read"):
            self._undelivered.deliver(self._generations.change)
            generations = self._generations.read(entry.scopes)
            try:
                descriptor = os.open(self._entry_path(entry), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return Reading(None, generations)
            try:
                # Plain system calls take half the time of open().read() for a small file.
                found = os.fstat(descriptor)
                sealed = os.read(descriptor, found.st_size)
                if self.size_limit is not None:
                    self.size_limit.used(descriptor, found.st_mtime)
            finally:
                os.close(descriptor)
        try:
            return Reading(self.unseal(entry.address, sealed), generations)
        except RecordRefused:
            return Reading(None, generations, refused=True)

    def unseal(self, address: bytes, sealed: bytes) -> Record:
        """Return the record that was stored for the entry at ``address``. Raises RecordRefused."""
        return self._signer.open(address, sealed)

    # The table has a generation for every scope, so a load may begin after any reading.
    begin = read

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Any:
        if is_content(value):
            return self._write_content(entry, Codec.FILE, content_chunks(value), record)
        codec, payload = dump(value)
        if codec is not Codec.PICKLE and len(payload) >= LARGE:
            self._write_content(entry, codec, [payload], record)
        else:
            self._replace(entry, record._replace(codec=codec, payload=payload), None)
        return value

    def _write_content(
        self, entry: Entry, codec: Codec, chunks: Iterable[bytes], record: Record
    ) -> Any:
        content = self.content.store(entry.address, codec, chunks)
        record = record._replace(codec=Codec.FILE, payload=content.pack())
        try:
            with reported("write"):
                # Before eviction could take it.
                opened = self.value(entry, record) if codec is Codec.FILE else None
            self._replace(entry, record, content)
        except StoreUnavailable:
            self.content.remove(entry.address, content)
            raise
        return opened

    def _replace(self, entry: Entry, record: Record, content: Description | None) -> None:
        """Publish a record, with its content, in place of the entry's former ones."""
        former = self._content_of(entry)
        grown = self._publish(entry, record)
        if content is not None and not content.shared:
            grown += content.size
        if former is not None and self.content.remove(entry.address, former):
            grown -= former.size
        if self.size_limit is not None:
            self.size_limit.grew(grown)

    def _publish(self, entry: Entry, record: Record) -> int:
        """Put a record into place; return by how many bytes it is larger than the former one."""
        path, sealed = self._entry_path(entry), self._signer.seal(entry.address, record)
        with arriving(self._incoming) as file, reported("write"):
            file.write(sealed)
            file.flush()
            try:
                former = os.stat(path).st_size
            except FileNotFoundError:
                former = 0
            move(file, path)
        return len(sealed) - former

    def _entry_path(self, entry: Entry) -> str:
        name = entry.address.hex()
        return f"{self._entries}/{name[:2]}/{name[2:]}"

    # -- content ---------------------------------------------------------------------------

    def _content_of(self, entry: Entry) -> Description | None:
        """Return the content of the entry's present record, if it has one."""
        record = self.read(entry).record
        if record is None or record.codec is not Codec.FILE:
            return None
        return Description.unpack(record.payload)

    def value(self, entry: Entry, record: Record) -> Any:
        if record.codec is not Codec.FILE:
            return super().value(entry, record)
        described = Description.unpack(record.payload)
        if described.codec is not Codec.FILE:
            payload = self.content.read(entry.address, described)
            return super().value(entry, record._replace(codec=described.codec, payload=payload))
        return CachedFile(
            Path(self.content.path(entry.address, described.name)),
            self.content.open(entry.address, described),
            record.stored_at,
            size=described.size,
            digest=described.digest.hex(),
        )

    def unstored(self, value: Any) -> Any:
        return keep_open(value) if is_content(value) else value

    # -- generations and leases ------------------------------------------------------------

    def invalidate(self, scopes: Iterable[str]) -> None:
        try:
            with reported("invalidate"):
                self._generations.change(scopes)
        except StoreUnavailable:
            self._undelivered.keep(scopes)
            raise

    def acquire(self, entry: Entry, seconds: float) -> bytes:
        with reported("lease"):
            return b"held" if self._leases.acquire(entry.address) else b""

    def release(self, entry: Entry, token: bytes) -> None:
        with reported("lease"):
            self._leases.release(entry.address)
