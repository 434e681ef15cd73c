"""Lists of the members of archives that can only be read from start to end. They are stored in the
files region beside the files, so that an archive that has not changed is not unpacked again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zlib
from contextlib import closing
from dataclasses import fields
from functools import partial
from io import BytesIO
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO

from tasks.files.content import opened_by, read_file
from tasks.sources.archives.members import Member
from tasks.sources.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RULES = 1
"""The rules by which members are made of an archive (`tasks.sources.archives`). A change that makes
others of the same archive takes the next number. Lists of former rules are made again."""
_FIELDS = attrgetter(*(field.name for field in fields(Member)))


def stored_listing(name: str, version: str) -> list[Member] | None:
    """Return the members of an archive in this version; None if they are not stored. ``name`` is
    the absolute name of the empty path in it."""
    if read_file.peek_stale(name, None, version) is None:
        return None
    try:
        with (
            opened_by(_unknown, Progress(), is_checked=True),
            closing(read_file(name, None, version)) as content,
        ):
            packed = content.read_bytes()
            if hashlib.sha256(packed).hexdigest() == content.digest:
                return list(_unpacked(packed))
    except (OSError, TypeError, ValueError, zlib.error):  # TypeError: of another release
        pass
    return None


def store_listing(name: str, version: str, members: Iterable[Member]) -> None:
    """Store the members of an archive in this version, after all of it was read without an
    error."""
    with opened_by(partial(_packed, members), Progress(), is_new=True):
        # There may be one that is damaged, or too long.
        read_file.reload(name, None, version).close()


def _unknown(*_: object) -> BinaryIO:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _packed(members: Iterable[Member], *_: object) -> BinaryIO:
    lines = zlib.compressobj()
    packed = BytesIO()
    packed.write(lines.compress(b"%d\n" % RULES))
    for member in members:
        packed.write(lines.compress(json.dumps(_FIELDS(member)).encode() + b"\n"))
    packed.write(lines.flush())
    packed.seek(0)
    return packed


def _unpacked(packed: bytes) -> Iterator[Member]:
    rules, *lines = zlib.decompress(packed).splitlines()
    if json.loads(rules) != RULES:
        raise ValueError("made by other rules")
    for line in lines:
        yield Member(*json.loads(line))
