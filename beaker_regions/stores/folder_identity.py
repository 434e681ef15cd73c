"""The identity of a folder: the same for every process and host that uses it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from beaker_regions.runtime.atomic_write import arriving, open_plain


def identity_of(folder: Path) -> bytes:
    """Return a folder's identity: a random number that is made once, and the inode of its file. So
    a copy of the folder has another identity. Raises OSError and StoreUnavailableError."""
    path = folder / "identity"
    with contextlib.suppress(FileNotFoundError):
        return _identity(path)
    with arriving(folder / "incoming") as file:
        file.write(os.urandom(16))
        file.flush()
        os.fsync(file.fileno())
        # A link never replaces a file: of several hosts, one makes it.
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)
    os.listdir(folder)  # an NFS client may still have cached that there is none
    return _identity(path)


def _identity(path: Path) -> bytes:
    with open(path, "rb", buffering=0, opener=open_plain) as file:
        return file.read(16) + b"%d" % os.fstat(file.fileno()).st_ino
