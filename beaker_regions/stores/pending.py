"""Pending invalidations: those that a store could not carry out yet.

A store applies its pending invalidations before it answers the next read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from beaker_regions.errors import ApplyingError, StoreUnavailableError
from beaker_regions.runtime import forking
from beaker_regions.runtime.atomic_write import make_folder, open_plain, read_file

logger = logging.getLogger("beaker_regions")

FOLDER = "pending"
"""The folder in data_dir that holds the persistent queues."""
PATIENCE = 1.0
"""Seconds that a caller leaves to another one that applies; that one may have been stopped."""
_TRIES = 100
"""Attempts when other processes remove or fill the queue's files at the same time."""
_SCOPE = re.compile(rb"[a-z][0-9a-f]{40}")
"""A scope (`beaker_regions.engine.store`), or a lease named by its entry's address."""
_OPEN = "open"
"""The file that new pending scopes are appended to."""
_NOWHERE = "-"
"""Target of links: only the name of a link counts."""
_covering: dict[str, set[str]] = {}
"""By a queue's path: the scopes that cover everything that may be pending there."""


def waiting(data_dir: Path) -> dict[str, int]:
    """Return the numbers of scopes that wait in the queues of a data_dir, by the server or other
    place that they wait for. Raises OSError."""
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(data_dir / FOLDER) as queues:
        for queue in queues:
            number = 0
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for file in os.scandir(queue.path):
                    number += (
                        1 if file.is_symlink() else len(_parsed(read_file(Path(file.path)))[0])
                    )
            if number:
                found[unquote(queue.name)] = number
    return found


class PendingInvalidations:
    """Scopes that this process still has to invalidate. While there are any, the store must not
    be read."""

    def __init__(self) -> None:
        self._pending: dict[str, object] = {}
        self.after_fork()
        forking.register(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def cover(self, scope: str) -> None:
        """Register a region's scope. It covers every scope of that region that may be pending."""

    def keep(self, scopes: Iterable[str]) -> None:
        """Add ``scopes`` to the pending invalidations."""
        with self._lock:
            # A new token each time: if a scope is kept again while it is being applied, it stays
            # pending, because a load may have begun in between.
            self._pending.update(dict.fromkeys(scopes, object()))

    def has_any(self) -> bool:
        """Return whether `apply` has something to do."""
        return bool(self._pending)

    def may_have_any(self) -> bool:
        """As `has_any`, quickly: for an entry that was read before."""
        return bool(self._pending)

    def apply(self, change: Callable[[Iterable[str]], None]) -> None:
        """Invalidate all pending scopes with ``change``. If that raises, this raises the same, and
        all of them stay pending."""
        if not self._pending:
            return
        with self._lock:
            pending = dict(self._pending)
        change(pending)
        with self._lock:
            for scope, token in pending.items():
                if self._pending.get(scope) is token:
                    del self._pending[scope]


class PersistentQueue(PendingInvalidations):
    """Pending invalidations that all processes of a host share, and that outlive them.

    They are in a folder that exists while anything is pending. A scope that cannot be written to
    the file there becomes the name of a link. If that fails too, only this process remembers it.

    No caller waits for a lock, because its holder may have been stopped, or a forked child may
    hold it too. ``keep`` appends scopes to one file of the folder, a scope a line. ``apply`` first
    renames that file, so that later scopes go to another one. It then invalidates the scopes of all
    files in the folder, also those that another process has begun to apply, since that one may
    never end. At last it removes the files. A scope that two processes apply costs one more load.
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
                self._link(scopes)
            except OSError:
                super().keep(scopes)

    def _append(self, scopes: set[str]) -> None:
        for _ in range(_TRIES):
            # Another process may remove the folder in between, or rename the file.
            with (
                contextlib.suppress(FileNotFoundError),
                open(f"{self._path}/{_OPEN}", "a+b", buffering=0, opener=open_plain) as file,
            ):
                descriptor = file.fileno()
                # A scope is written once, however long the server is away.
                known, _ = _parsed(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
                lines = [line_of(scope) + b"\n" for scope in sorted(scopes.difference(known))]
                # The first newline ends a line that a killed process has begun.
                added = b"\n" + b"".join(lines) if lines else b""
                if os.write(descriptor, added) != len(added):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
                if os.path.samestat(os.fstat(descriptor), os.stat(f"{self._path}/{_OPEN}")):
                    return
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self._path)

    def _link(self, scopes: Iterable[str]) -> None:
        """Keep each scope as the name of a link. A process without a free descriptor can make
        links, and they take almost no space on a full disk."""
        for scope in scopes:
            for _ in range(_TRIES):
                make_folder(self._path, durable=False)
                # A new name each time: an existing link may just have been applied.
                with contextlib.suppress(FileNotFoundError):
                    os.symlink(_NOWHERE, f"{self._path}/{scope}-{os.urandom(8).hex()}")
                    break
            else:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self._path)

    def may_have_any(self) -> bool:
        """As `has_any`, in a third of the time. It is False where this process may not search
        the path; `apply` says so, at the first read of each entry."""
        return bool(self._pending) or os.access(self._path, os.F_OK)

    def has_any(self) -> bool:
        if super().has_any():
            return True
        try:
            os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass  # `apply` says what is wrong
        return True

    def apply(self, change: Callable[[Iterable[str]], None]) -> None:
        """As `PendingInvalidations.apply`. Raises ApplyingError while another thread or process
        applies, but for no longer than `PATIENCE`: that one may have been stopped."""
        super().apply(change)
        try:
            try:
                os.stat(self._path)
            except (FileNotFoundError, NotADirectoryError):
                return
            with self._turn():
                self._apply(change)
        except BlockingIOError as error:
            raise ApplyingError("its pending invalidations are being applied") from error
        except OSError as error:
            raise StoreUnavailableError(
                "server", f"its pending invalidations cannot be applied: {error}"
            ) from error

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one caller apply at a time. This only saves work. Raises BlockingIOError while it is
        another caller's turn."""
        turn = open_plain(f"{self._path}.turn", os.O_RDWR | os.O_CREAT)
        with forking.unshared(turn):
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.utime(turn)
            except BlockingIOError:
                if abs(time.time() - os.fstat(turn).st_mtime) < PATIENCE:
                    raise
            yield

    def _apply(self, change: Callable[[Iterable[str]], None]) -> None:
        for _ in range(_TRIES):
            files = self._claimed()
            pending = self._read(files)
            try:
                if pending:
                    change(pending)
            except BaseException:
                # Merge them into one file, or each attempt would leave one more.
                with contextlib.suppress(OSError):
                    self._append(pending)
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
        raise BlockingIOError(f"{self._path}: other processes keep adding to it")

    def _claimed(self) -> list[str]:
        """Return the files that no process adds to any more."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.rename(f"{self._path}/{_OPEN}", f"{self._path}/{os.urandom(8).hex()}")
        try:
            return [f"{self._path}/{name}" for name in os.listdir(self._path) if name != _OPEN]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            # A file in place of the folder: no scope can be added until it is removed.
            return [self._path]

    def _read(self, files: Iterable[str]) -> set[str]:
        """Return the scopes in ``files``. A damaged part is replaced by the scopes that cover
        everything it may have named."""
        pending: set[str] = set()
        for path in files:
            if os.path.islink(path):
                named = os.path.basename(path).partition("-")[0].encode()
                pending |= {named.decode()} if _SCOPE.fullmatch(named) else self._cover
                continue
            # Another process may have applied and removed it by now.
            with contextlib.suppress(FileNotFoundError):
                found, damaged = _parsed(read_file(Path(path)))
                pending |= found
                if damaged:
                    pending |= self._cover
                    logger.warning(
                        "%s was damaged: %d bytes of it name no scope, such as %r; all regions "
                        "that keep pending invalidations there are invalidated",
                        self._path,
                        sum(map(len, damaged)),
                        damaged[0][:80],
                    )
        return pending


def line_of(scope: str) -> bytes:
    """Return a scope's line in a file: with a checksum, so that no damage makes it another one."""
    return b"%s %08x" % (scope.encode(), zlib.crc32(scope.encode()))


def _parsed(content: bytes) -> tuple[set[str], list[bytes]]:
    """Return the scopes in a file's lines, and the lines that name no scope."""
    found: set[str] = set()
    damaged: list[bytes] = []
    for line in filter(None, content.split(b"\n")):
        scope = line.partition(b" ")[0]
        if _SCOPE.fullmatch(scope) and line == line_of(scope.decode()):
            found.add(scope.decode())
        else:
            damaged.append(line)
    return found, damaged


def _remove(files: Iterable[str]) -> None:
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
