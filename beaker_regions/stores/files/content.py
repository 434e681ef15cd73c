"""The content of a files region: small content in the record, larger in a file of its own, once.

Content of up to `SMALL` bytes is stored in its entry's record, so it is one file, which is read at
once. Its digest is checked whenever it is read.

A content file has a second name, made of its digest, under ``equal``. Content that arrives with the
same digest becomes one more name of the same file (a hard link). So content is stored once, however
many entries have it. The file system counts the names, and removing the name of one entry never
removes the content of another.

A record contains its content's size, modification time and inode. These are checked at each
opening, so a file that was truncated, written to or replaced is detected. The digest is checked by
`beaker_regions.stores.files.maintenance`, and at each opening too if a region has
``verify_reads``: a failing disk changes data without an error.

With ``durable``, content is on disk (fsync) before a record names it. Without it, after a loss of
power a file may have the right size and time but wrong bytes. So its record contains the boot of
the machine in which it was stored, and it is not used after a restart.

Content can be stored as one of many, which are synced together
(`beaker_regions.stores.files.together`). Its record names it before it is on disk. So its record
contains the boot as well, and after a restart its digest is checked at each opening.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from beaker_regions.entries.content import CHUNK, CachedFile, Resumable
from beaker_regions.entries.records import Codec, Record, parted, with_content
from beaker_regions.runtime.atomic_write import link, move, open_plain, reported, sync_folder
from beaker_regions.stores.files.incoming import is_growing, parts_in, received

_HEAD = struct.Struct("<BQqQ32s16s")
"""Of a record's payload: codec of the value, size in bytes, modification time in nanoseconds,
inode, SHA-256, run of the machine; the name of the file follows."""

DURABLE = bytes(16)
"""In place of a boot: the content is valid in every one."""
SMALL = 32 * 1024
"""The most bytes of content that is stored in the record. Its digest is checked in some
microseconds, and a copy of equal content takes less than the files of another kind would."""
TOGETHER = 1024 * 1024
"""The most bytes of content that is synced together with others: its digest is checked in about a
millisecond."""
BLOCK = 4096
"""Bytes in which file systems give room to files."""
_TOGETHER = 0x80
"""The bit of the codec's byte for content that was synced together with others."""


@functools.cache
def this_run() -> bytes:
    """Return the identifier of this boot of the machine. Raises OSError."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


class Description(NamedTuple):
    """The part of a record that describes its content."""

    codec: Codec
    """FILE: the caller gets the file. Otherwise the content is the payload of that codec."""
    size: int
    """Bytes."""
    modified_ns: int
    inode: int
    digest: bytes
    """SHA-256."""
    run: bytes
    """The boot of the machine in which alone it is valid, or `DURABLE`."""
    name: str
    together: bool = False
    """Whether it was synced together with others, after its record was stored."""
    shared: bool = False
    """Whether equal content was there already."""
    small: bytes | memoryview | None = None
    """The content, if it is in the record."""

    @classmethod
    def of(cls, record: Record | None) -> Description | None:
        """Return the description of a record's content; None if it has none."""
        if record is not None and record.codec is Codec.FILE:
            return _unpacked_again(record.payload)
        if record is not None and record.codec is Codec.CONTENT:
            described, content = parted(record.payload)
            return _unpacked(described)._replace(small=content)
        return None

    @property
    def room(self) -> int:
        """The bytes that its own file takes, if it has one."""
        return 0 if self.small is not None else room_of(self.size)

    @property
    def outlived(self) -> bool:
        """Whether it was not synced, and the machine has restarted since."""
        return not self.together and self._is_of_former_run

    @property
    def is_unproven(self) -> bool:
        """Whether only its digest shows that all of it has reached the disk."""
        return self.together and self._is_of_former_run

    @property
    def _is_of_former_run(self) -> bool:
        return self.run != DURABLE and self.run != this_run()

    def pack(self) -> tuple[Codec, bytes]:
        """Return the codec and the payload of its record."""
        codec = self.codec | _TOGETHER if self.together else self.codec
        described = _HEAD.pack(codec, *self[1:6]) + self.name.encode("ascii")
        if self.small is None:
            return Codec.FILE, described
        return Codec.CONTENT, with_content(described, self.small)


def room_of(size: int) -> int:
    """Return the bytes of a disk that a file of ``size`` bytes takes, about."""
    return -(-size // BLOCK) * BLOCK


def _unpacked(described: bytes | memoryview) -> Description:
    codec, size, modified_ns, inode, digest, run = _HEAD.unpack_from(described)
    name = str(described[_HEAD.size :], "ascii")
    together = bool(codec & _TOGETHER)
    codec = Codec(codec & ~_TOGETHER)
    return Description(codec, size, modified_ns, inode, digest, run, name, together)


_unpacked_again = functools.lru_cache(1024)(_unpacked)


class ContentFiles:
    """The content files of one region."""

    def __init__(self, folder: Path, *, durable: bool = True, verify_reads: bool = False) -> None:
        self._durable = durable
        self._verify_reads = verify_reads
        self._content = str(folder / "content")
        self._equal = str(folder / "equal")
        self._incoming = folder / "incoming"

    def path(self, address: bytes, name: str) -> str:
        """Return the path of an entry's content."""
        return f"{self._content}/{address[:1].hex()}/{name}"

    def equal_path(self, digest: bytes) -> str:
        """Return the name that content of this digest has beside those of its entries."""
        name = digest.hex()
        return f"{self._equal}/{name[:2]}/{name[2:]}"

    def is_progressing(self, address: bytes, seconds: float) -> bool:
        """Whether some content of an entry has arrived in the last ``seconds``. Raises OSError."""
        return is_growing(self._incoming, address, seconds)

    def parts(self) -> frozenset[bytes]:
        """Return the addresses of entries of whose content a part has arrived."""
        return parts_in(self._incoming, this_run())

    def store(
        self,
        address: bytes,
        codec: Codec,
        chunks: Iterable[bytes] | Resumable,
        *,
        together: bool = False,
    ) -> Description:
        """Store content that comes in chunks. ``together``: the caller syncs small content later.
        Raises StoreUnavailableError, and what the chunks raise."""
        name = _new_name(address)
        with received(self._incoming, address, chunks, this_run(), SMALL) as arrived:
            file, size, digest = arrived.file, arrived.size, arrived.digest
            if arrived.small is not None:
                run = DURABLE if self._durable and not together else this_run()
                # Its digest is checked at each reading, so it may be synced later in any case.
                return Description(codec, size, 0, 0, digest, run, name, True, small=arrived.small)
            assert file is not None
            together = together and size <= TOGETHER
            durable = self._durable and not together
            path, equal = self.path(address, name), self.equal_path(digest)
            with reported("write"):
                shared = self._share(equal, path, digest, durable=durable)
                if not shared:
                    move(file, path, durable=durable)
                    self._keep_for_others(path, equal)
                found = os.stat(path)
        return self._described(codec, found, digest, name, together=together, shared=shared)

    def store_again(
        self, address: bytes, content: CachedFile, *, together: bool
    ) -> Description | None:
        """Make content that is stored that of an entry, without copying it; None if it is gone or
        damaged. ``together``: as for `store`. Raises StoreUnavailableError."""
        digest = bytes.fromhex(content.digest)
        together = together and content.size <= TOGETHER
        durable = self._durable and not together
        name = _new_name(address)
        path = self.path(address, name)
        with reported("write"):
            if not self._share(self.equal_path(digest), path, digest, durable=durable):
                return None
            found = os.stat(path)
        return self._described(Codec.FILE, found, digest, name, together=together, shared=True)

    def _described(
        self,
        codec: Codec,
        found: os.stat_result,
        digest: bytes,
        name: str,
        *,
        together: bool,
        shared: bool,
    ) -> Description:
        run = DURABLE if self._durable and not together else this_run()
        together = self._durable and together
        size, modified, inode = found.st_size, found.st_mtime_ns, found.st_ino
        return Description(codec, size, modified, inode, digest, run, name, together, shared)

    @staticmethod
    def _keep_for_others(path: str, equal: str) -> None:
        # It may exist by now, and not every file system has hard links.
        with contextlib.suppress(OSError):
            link(path, equal)

    def _share(self, equal: str, path: str, digest: bytes, *, durable: bool) -> bool:
        """Make ``path`` one more name of what is stored already. Returns False if there is no such
        content, or it has as many names as the file system allows."""
        try:
            with open(equal, "rb", opener=open_plain) as file:
                if hashlib.file_digest(file, "sha256").digest() != digest:
                    os.unlink(equal)
                    return False
                if durable:
                    # It may have been stored without.
                    os.fsync(file.fileno())
            link(equal, path)
        except OSError:
            return False
        if durable:
            sync_folder(os.path.dirname(path))
        return True

    def open(self, address: bytes, described: Description) -> int:
        """Return a descriptor of an entry's content. Raises OSError if it is gone, or is not what
        was stored."""
        if self._verify_reads or described.is_unproven:
            return self.verified(address, described)
        return self._opened(address, described)

    def verified(self, address: bytes, described: Description) -> int:
        """As `open`, its digest checked in any case."""
        descriptor = self._opened(address, described)
        try:
            _check(described, _digest_of(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def verify(self, address: bytes, described: Description) -> None:
        """Raise OSError if an entry's content is gone, or not what was stored: its digest is
        checked."""
        if described.small is not None:
            _check(described, hashlib.sha256(described.small).digest())
        else:
            os.close(self.verified(address, described))

    def check(self, address: bytes, described: Description) -> None:
        """Raise OSError if an entry's content is gone, or is another file than what was stored."""
        if described.is_unproven:
            self.verify(address, described)
        elif described.small is not None:
            _check_size(described, len(described.small))
        else:
            path = self._usable_path(address, described)
            _compare(described, os.stat(path, follow_symlinks=False), path)

    def _usable_path(self, address: bytes, described: Description) -> str:
        path = self.path(address, described.name)
        if described.outlived:
            raise OSError(f"{path} was not synced before the machine restarted")
        return path

    def _opened(self, address: bytes, described: Description) -> int:
        path = self._usable_path(address, described)
        descriptor = open_plain(path, os.O_RDONLY)
        try:
            _compare(described, os.fstat(descriptor), path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, address: bytes, described: Description) -> bytes:
        """Return the whole content of an entry's file. Raises OSError as `open`."""
        descriptor = self._opened(address, described)
        try:
            content = os.read(descriptor, described.size)
            # One call reads 2 GB at the most.
            while len(content) < described.size:
                more = os.read(descriptor, described.size - len(content))
                if not more:
                    raise OSError(f"{described.name} was cut short")
                content += more
        finally:
            os.close(descriptor)
        if self._verify_reads or described.is_unproven:
            _check(described, hashlib.sha256(content).digest())
        return content

    def remove(self, address: bytes, described: Description) -> int:
        """Give up an entry's content. Returns the bytes that are free now: 0 if other entries have
        the same content."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(address, described.name))
            if described.small is not None:
                return room_of(described.size)  # it had a file of its own, too
        if described.small is None and self.forget_unused(self.equal_path(described.digest)):
            return described.room
        return 0

    def forget_unused(self, equal: str) -> bool:
        """Remove content that no entry has any more; return whether it was removed. An entry that
        shares it at this moment keeps it under its own name."""
        try:
            if os.stat(equal).st_nlink > 1:
                return False
            os.unlink(equal)
        except OSError:
            return False
        return True


def _new_name(address: bytes) -> str:
    # A new name each time: a caller that has the former content open keeps it.
    return f"{address.hex()[2:]}-{os.urandom(4).hex()}"


def _compare(described: Description, found: os.stat_result, path: str) -> None:
    if (
        found.st_size != described.size
        or found.st_mtime_ns != described.modified_ns
        or found.st_ino != described.inode
    ):
        raise OSError(f"{path} is not what was stored")


def _check_size(described: Description, size: int) -> None:
    if size != described.size:
        raise OSError(f"{described.name} has {size} bytes of {described.size}")


def _check(described: Description, digest: bytes) -> None:
    if digest != described.digest:
        raise OSError(f"{described.name} is not what was stored: its digest differs")


def _digest_of(descriptor: int) -> bytes:
    """Return the SHA-256 of an open file, whose position stays where it is. Raises OSError."""
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(descriptor, CHUNK, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.digest()
