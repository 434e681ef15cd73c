"""Raw content beside the records of a files region: one file an entry, equal content once.

A content file has a second name, made of its digest, under ``equal``; what arrives with the same
digest becomes one more name of the same file (a hard link). So content is stored once however
many entries have it, the file system counts who still needs it, and removing an entry's name can
never take the content from another.

Content is on disk (fsync) before a record names it. A record says its size and modification
time, which are checked at each opening: a file that was cut short or written to is not what was
stored. Its digest is checked by `regions.backends.upkeep`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from regions.backends.file_writing import arriving, link, move, reported, sync_folder
from regions.records import Codec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEAD = struct.Struct("<BQq32s")
"""Of a record's payload: codec of the value, size in bytes, modification time in nanoseconds,
SHA-256; the name of the file follows."""


class Description(NamedTuple):
    """What a record says of its content."""

    codec: Codec
    """FILE: the caller gets the file; else the content is the payload of that codec."""
    size: int
    """Bytes."""
    modified_ns: int
    digest: bytes
    """SHA-256."""
    name: str
    shared: bool = False
    """Whether it was there already when it was stored."""

    @classmethod
    def unpack(cls, payload: bytes | memoryview) -> Description:
        codec, size, modified_ns, digest = _HEAD.unpack_from(payload)
        return cls(Codec(codec), size, modified_ns, digest, str(payload[_HEAD.size :], "ascii"))

    def pack(self) -> bytes:
        head = _HEAD.pack(self.codec, self.size, self.modified_ns, self.digest)
        return head + self.name.encode("ascii")


class ContentFiles:
    """The content files of one region."""

    def __init__(self, folder: Path) -> None:
        self._content = str(folder / "content")
        self._equal = str(folder / "equal")
        self._incoming = folder / "incoming"

    def path(self, address: bytes, name: str) -> str:
        """Return where an entry's content lies."""
        return f"{self._content}/{address.hex()[:2]}/{name}"

    def equal_path(self, digest: bytes) -> str:
        """Return the name that content of this digest has beside those of its entries."""
        name = digest.hex()
        return f"{self._equal}/{name[:2]}/{name[2:]}"

    def store(self, address: bytes, codec: Codec, chunks: Iterable[bytes]) -> Description:
        """Store content that comes in chunks. Raises StoreUnavailable, and what the chunks
        raise."""
        with arriving(self._incoming) as file:
            size, digest = 0, hashlib.sha256()
            for chunk in chunks:
                with reported("write"):
                    file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            # A name is used once: who has the former content open keeps it.
            name = f"{address.hex()[2:]}-{os.urandom(4).hex()}"
            path, equal = self.path(address, name), self.equal_path(digest.digest())
            with reported("write"):
                shared = self._share(equal, path, digest.digest())
                if not shared:
                    file.flush()
                    os.fsync(file.fileno())
                    move(file, path)
                    # It may exist by now; and not every file system has second names.
                    with contextlib.suppress(OSError):
                        link(path, equal)
                sync_folder(os.path.dirname(path))
                modified_ns = os.stat(path).st_mtime_ns
        return Description(codec, size, modified_ns, digest.digest(), name, shared)

    def _share(self, equal: str, path: str, digest: bytes) -> bool:
        """Make ``path`` one more name of what is stored already. Returns False when there is no
        such content, or as many names of it as the file system takes."""
        try:
            if not has_digest(equal, digest):
                os.unlink(equal)
                return False
            link(equal, path)
        except OSError:
            return False
        return True

    def open(self, address: bytes, described: Description) -> int:
        """Return a descriptor of an entry's content. Raises OSError when it is gone, was cut
        short or written to."""
        path = self.path(address, described.name)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(descriptor)
        if (found.st_size, found.st_mtime_ns) != (described.size, described.modified_ns):
            os.close(descriptor)
            raise OSError(f"{path} is not what was stored")
        return descriptor

    def read(self, address: bytes, described: Description) -> bytes:
        """Return an entry's whole content. Raises OSError as `open`."""
        descriptor = self.open(address, described)
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
        return content

    def remove(self, address: bytes, described: Description) -> bool:
        """Give up an entry's content; whether no other entry has it, and it is gone."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(address, described.name))
        return self.forget_unused(self.equal_path(described.digest))

    def forget_unused(self, equal: str) -> bool:
        """Remove content that no entry has any more; whether it did. One that shares it at this
        moment keeps it under its own name."""
        try:
            if os.stat(equal).st_nlink > 1:
                return False
            os.unlink(equal)
        except OSError:
            return False
        return True


def has_digest(path: str, digest: bytes) -> bool:
    """Whether a file's SHA-256 is ``digest``. Raises OSError when it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == digest
