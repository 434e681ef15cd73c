"""The identity of a folder: the same for every process and host that uses it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from beaker_regions.runtime.atomic_write import open_plain, write_file


def identity_of(folder: Path) -> bytes:
    """Return a folder's identity: a random number that is made once, and the inode of its file. So
    a copy of the folder has another identity. Raises OSError."""
    path = folder / "identity"
    with contextlib.suppress(FileNotFoundError):
        return _identity(path)
    made = f"{folder}/incoming/{os.urandom(16).hex()}"
    write_file(f"{folder}/incoming", made, os.urandom(16), durable=True)
    try:
        # A link never replaces a file: of several hosts, one makes it.
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
    finally:
        os.unlink(made)
    os.listdir(folder)  # an NFS client may still have cached that there is none
    return _identity(path)


def _identity(path: Path) -> bytes:
    with open(path, "rb", buffering=0, opener=open_plain) as file:
        return file.read(16) + b"%d" % os.fstat(file.fileno()).st_ino
