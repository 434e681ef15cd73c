"""Invalidations that a store could not carry out yet."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING

from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

logger = logging.getLogger("beaker_regions")

DELIVERING = "delivering"
"""The kind of StoreUnavailableError while somebody else delivers."""
PATIENCE = 1.0
"""Seconds for which somebody else is left to deliver, who may have been stopped."""
_TRIES = 100
"""Times that a file is found to be another's by now, or that a folder has got new ones."""
_SCOPE = re.compile(rb"[a-z][0-9a-f]{40}")
"""What is owed: scopes (`beaker_regions.engine.store`), and leases by their entries' addresses."""
_OPEN = "owed"
"""The file that takes what is owed."""
_NOWHERE = "-"
"""Where links lead, whose names are all that counts."""
_covering: dict[str, set[str]] = {}
"""By a journal's path: scopes that cover all that may be owed in it."""


class PendingInvalidations:
    """Scopes whose invalidation this process owes. While there are any, the store is not to be
    read."""

    def __init__(self) -> None:
        self._owed: dict[str, object] = {}
        self.after_fork()
        forking.tell(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def cover(self, scope: str) -> None:
        """Be told of a scope, a region's, that covers all that may be owed of that region."""

    def keep(self, scopes: Iterable[str]) -> None:
        """Remember to invalidate ``scopes``."""
        with self._lock:
            # A token each time: an invalidation that comes while the same scope is being
            # delivered is owed again, because a load may have begun in between.
            self._owed.update(dict.fromkeys(scopes, object()))

    def deliver(self, change: Callable[[Iterable[str]], None]) -> None:
        """Invalidate what is owed with ``change``; what that raises, this raises, and owes all
        of it still."""
        if not self._owed:
            return
        with self._lock:
            owed = dict(self._owed)
        change(owed)
        with self._lock:
            for scope, token in owed.items():
                if self._owed.get(scope) is token:
                    del self._owed[scope]


class PersistentQueue(PendingInvalidations):
    """As `PendingInvalidations`, for all processes of a host together, and past their end: in a
    folder that is there as long as anything is owed. What cannot be written there is a name there,
    of a link; what cannot be that either, this process remembers alone.

    Nobody waits for a lock: whoever has one may have been stopped, or have forked a child that has
    it too. Who owes something adds it to one file of the folder, a scope a line. Who delivers gives
    that file a name of its own, so that what comes later is in another one; invalidates what all
    files of the folder name, since who has begun to deliver those may never end; and removes them.
    What several deliver is loaded once more, and nothing else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)
        self._cover = _covering.setdefault(self._path, set())

    def cover(self, scope: str) -> None:
        self._cover.add(scope)

    def keep(self, scopes: Iterable[str]) -> None:
        scopes = set(scopes)
        try:
            self._append(scopes)
        except OSError:
            try:
                self._name(scopes)
            except OSError:
                super().keep(scopes)

    def _append(self, scopes: set[str]) -> None:
        for _ in range(_TRIES):
            _make_folder(self._path)
            # Somebody may remove the folder in between, or rename the file.
            with contextlib.suppress(FileNotFoundError), self._opened() as descriptor:
                # Once is enough, however long the server is away.
                known, _ = _parsed(_content(descriptor))
                lines = [f"{scope}\n".encode() for scope in sorted(scopes.difference(known))]
                # A line that somebody who died has begun is ended first.
                added = b"\n" + b"".join(lines) if lines else b""
                if os.write(descriptor, added) != len(added):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
                if os.path.samestat(os.fstat(descriptor), os.stat(f"{self._path}/{_OPEN}")):
                    return
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self._path)

    def _name(self, scopes: Iterable[str]) -> None:
        """Let names alone say what is owed: a process that has no descriptor left can make links,
        and they take next to no room on a full disk."""
        for scope in scopes:
            for _ in range(_TRIES):
                _make_folder(self._path)
                # Another one each time: one that is there may just have been delivered.
                with contextlib.suppress(FileNotFoundError):
                    os.symlink(_NOWHERE, f"{self._path}/{scope}-{os.urandom(8).hex()}")
                    break
            else:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self._path)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self._path}/{_OPEN}", flags, 0o660)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def deliver(self, change: Callable[[Iterable[str]], None]) -> None:
        """As `PendingInvalidations.deliver`. Raises StoreUnavailableError of kind `DELIVERING`
        while somebody else does it; not for longer than `PATIENCE`: a process may be stopped in the
        middle."""
        super().deliver(change)
        try:
            try:
                os.stat(self._path)
            except (FileNotFoundError, NotADirectoryError):
                return
            with self._turn():
                self._deliver(change)
        except BlockingIOError as error:
            raise StoreUnavailableError(
                DELIVERING, "invalidations are being delivered to it"
            ) from error
        except OSError as error:
            raise StoreUnavailableError("server", f"invalidations wait for it: {error}") from error

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one deliver at a time: it is for no more than to spare the others the work. Raises
        BlockingIOError where it is somebody else's turn."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        turn = os.open(f"{self._path}.turn", flags, 0o660)
        with forking.unshared(turn):
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.utime(turn)
            except BlockingIOError:
                if abs(time.time() - os.fstat(turn).st_mtime) < PATIENCE:
                    raise
            yield

    def _deliver(self, change: Callable[[Iterable[str]], None]) -> None:
        for _ in range(_TRIES):
            files = self._claimed()
            owed = self._read(files)
            try:
                if owed:
                    change(owed)
            except BaseException:
                # In one file again, or there would be one more after each attempt.
                with contextlib.suppress(OSError):
                    self._append(owed)
                    _remove(files)
                raise
            _remove(files)
            try:
                os.rmdir(self._path)
            except (FileNotFoundError, NotADirectoryError):
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return
        raise BlockingIOError(f"{self._path}: others do not come to an end")

    def _claimed(self) -> list[str]:
        """Return the files that nobody adds to any more."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.rename(f"{self._path}/{_OPEN}", f"{self._path}/{os.urandom(8).hex()}")
        try:
            return [f"{self._path}/{name}" for name in os.listdir(self._path) if name != _OPEN]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            # Of a release that kept everything in one file.
            return [self._path]

    def _read(self, files: Iterable[str]) -> set[str]:
        """Return what files name; in place of what nobody can read any more, all that it may have
        been."""
        owed: set[str] = set()
        for path in files:
            if os.path.islink(path):
                named = os.path.basename(path).partition("-")[0].encode()
                owed |= {named.decode()} if _SCOPE.fullmatch(named) else self._cover
                continue
            # Others may have delivered it by now.
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    found, damaged = _parsed(_content(descriptor))
                finally:
                    os.close(descriptor)
                owed |= found
                if damaged:
                    owed |= self._cover
                    logger.warning(
                        "%s was damaged: %d bytes of it name nothing, such as %r; all regions "
                        "that are kept there are invalidated",
                        self._path,
                        sum(map(len, damaged)),
                        damaged[0][:80],
                    )
        return owed


def _make_folder(path: str) -> None:
    """Make a folder if it is missing, which others may make and remove at any moment: then
    ``os.makedirs`` raises that it exists."""
    with contextlib.suppress(FileExistsError):
        try:
            os.mkdir(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mkdir(path)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _parsed(content: bytes) -> tuple[set[str], list[bytes]]:
    """Return the scopes that a file's lines name, and the lines that name none."""
    lines = [line for line in content.split(b"\n") if line]
    damaged = [line for line in lines if not _SCOPE.fullmatch(line)]
    return {line.decode() for line in lines if _SCOPE.fullmatch(line)}, damaged


def _remove(files: Iterable[str]) -> None:
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
