"""Entries as files: one record an entry, and beside it, for content, one raw file.

Layout of a store's folder::

    generations             what is current (`regions.generations`)
    leases                  who is loading (`regions.file_leases`)
    entries/ab/cdef…        sealed records; two levels, so that no folder grows too large
    content/ab/cdef…-12ab   raw content of an entry, under a name that is used once
    incoming/               files being written

A file is written under ``incoming`` and renamed into place, so a reader finds a whole one or
none. A record is checked as a whole at every read and needs nothing more; content is not, so it
is on disk (fsync) before the record that names it appears.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from typing import IO, TYPE_CHECKING, Any

from regions.content import CachedFile, content_chunks, is_content, keep_open
from regions.errors import StoreUnavailable
from regions.file_leases import FileLeases
from regions.generations import GenerationTable
from regions.records import Codec, Record, RecordRefused, Signer
from regions.store import Entry, Reading, Store, dump
from regions.undelivered import Undelivered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CONTENT = struct.Struct("<Q32s")
"""Of a content record's payload: size in bytes, SHA-256; the file's name follows."""


class FileStore(Store):
    """A region's entries in one folder, shared by all threads and processes of a host."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.folder = folder
        self._signer = signer
        self._entries = str(folder / "entries")
        self._content = folder / "content"
        self._incoming = folder / "incoming"
        self._generations = GenerationTable(folder / "generations")
        self._leases = FileLeases(folder / "leases")
        self._undelivered = Undelivered()

    # -- records ---------------------------------------------------------------------------

    def read(self, entry: Entry) -> Reading:
        with _reported("read"):
            self._undelivered.deliver(self._generations.change)
            generations = self._generations.read(entry.scopes)
            try:
                descriptor = os.open(self._entry_path(entry), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return Reading(None, generations)
            try:
                # Plain system calls take half the time of open().read() for a small file.
                sealed = os.read(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
        try:
            return Reading(self._signer.open(entry.address, sealed), generations)
        except RecordRefused:
            return Reading(None, generations, refused=True)

    # The table has a generation for every scope, so a load may begin after any reading.
    begin = read

    def write(self, entry: Entry, value: Any, record: Record, ttl: float) -> Any:
        if is_content(value):
            return self._write_content(entry, value, record)
        codec, payload = dump(value)
        self._publish(entry, record._replace(codec=codec, payload=payload))
        return value

    def _publish(self, entry: Entry, record: Record) -> None:
        with self._arriving() as file, _reported("write"):
            file.write(self._signer.seal(entry.address, record))
            file.flush()
            _move(file, self._entry_path(entry))

    def _entry_path(self, entry: Entry) -> str:
        name = entry.address.hex()
        return f"{self._entries}/{name[:2]}/{name[2:]}"

    @contextlib.contextmanager
    def _arriving(self) -> Iterator[IO[bytes]]:
        """Yield a new file under ``incoming``; it is gone afterwards unless it was moved."""
        with _reported("write"):
            path = self._incoming / os.urandom(16).hex()
            try:
                file = open(path, "xb")  # noqa: SIM115 closed below
            except FileNotFoundError:
                self._incoming.mkdir(parents=True, exist_ok=True)
                file = open(path, "xb")  # noqa: SIM115
        try:
            with file:
                yield file
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    # -- content ---------------------------------------------------------------------------

    def _write_content(self, entry: Entry, value: Any, record: Record) -> CachedFile:
        former = self._content_of(entry)
        name = entry.address.hex()
        path = self._content / name[:2] / f"{name[2:]}-{os.urandom(4).hex()}"
        with self._arriving() as file:
            size, digest = 0, hashlib.sha256()
            for chunk in content_chunks(value):
                with _reported("write"):
                    file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            with _reported("write"):
                file.flush()
                os.fsync(file.fileno())
                _move(file, str(path))
                _sync_folder(path.parent)
        payload = _CONTENT.pack(size, digest.digest()) + path.name.encode()
        record = record._replace(codec=Codec.FILE, payload=payload)
        try:
            self._publish(entry, record)
            with _reported("write"):
                content = self._open_content(entry, record)
        except StoreUnavailable:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        if former is not None:
            with contextlib.suppress(OSError):
                former.unlink(missing_ok=True)
        return content

    def _content_of(self, entry: Entry) -> Path | None:
        """Return where the content of the entry's present record lies, if it has one."""
        record = self.read(entry).record
        if record is None or record.codec is not Codec.FILE:
            return None
        return self._content_path(entry, record)

    def value(self, entry: Entry, record: Record) -> Any:
        if record.codec is Codec.FILE:
            return self._open_content(entry, record)
        return super().value(entry, record)

    def _open_content(self, entry: Entry, record: Record) -> CachedFile:
        """Open a record's content. Raises OSError when it is gone or cut short."""
        size, digest = _CONTENT.unpack_from(record.payload)
        path = self._content_path(entry, record)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        file = CachedFile(path, descriptor, record.stored_at, size=size, digest=digest.hex())
        found = os.fstat(descriptor).st_size
        if found != size:
            raise OSError(f"{path} has {found} bytes instead of {size}")
        return file

    def _content_path(self, entry: Entry, record: Record) -> Path:
        return (
            self._content / entry.address.hex()[:2] / str(record.payload[_CONTENT.size :], "ascii")
        )

    def unstored(self, value: Any) -> Any:
        return keep_open(value) if is_content(value) else value

    # -- generations and leases ------------------------------------------------------------

    def invalidate(self, scopes: Iterable[str]) -> None:
        try:
            with _reported("invalidate"):
                self._generations.change(scopes)
        except StoreUnavailable:
            self._undelivered.keep(scopes)
            raise

    def acquire(self, entry: Entry, seconds: float) -> bytes:
        with _reported("lease"):
            return b"held" if self._leases.acquire(entry.address) else b""

    def release(self, entry: Entry, token: bytes) -> None:
        with _reported("lease"):
            self._leases.release(entry.address)


@contextlib.contextmanager
def _reported(kind: str) -> Iterator[None]:
    """Report what the operating system refuses as the store's failure."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(kind, str(error)) from error


def _move(file: IO[bytes], target: str) -> None:
    try:
        os.replace(file.name, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(file.name, target)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
