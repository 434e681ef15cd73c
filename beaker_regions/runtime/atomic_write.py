"""Writing files that appear complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import IO

from beaker_regions.errors import StoreUnavailableError
from beaker_regions.runtime.interruptions import is_interruption


class reported:  # noqa: N801 a function to those who write ``with reported("read"):``
    """Raise StoreUnavailableError of a kind for an OSError. An exception of a signal handler, such
    as a TimeoutError, passes through."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError) and not is_interruption(error):
            raise StoreUnavailableError(self._kind, str(error)) from error


def move(file: IO[bytes], target: str, *, durable: bool = False) -> None:
    """Rename a file to ``target``, and replace a file there. ``durable``: its bytes and its name
    are on disk when this returns, the bytes before the name."""
    file.flush()
    if durable:
        os.fsync(file.fileno())
    _rename(file.name, target, durable=durable)


def _rename(path: str, target: str, *, durable: bool) -> None:
    try:
        os.replace(path, target)
    except FileNotFoundError:
        make_folder(os.path.dirname(target), durable=durable)
        os.replace(path, target)
    if durable:
        sync_folder(os.path.dirname(target))


def write_file(folder: str, target: str, content: bytes, *, durable: bool) -> None:
    """Put a file with this content in the place of ``target``, by way of ``folder``. ``durable``:
    both are on disk when this returns."""
    temporary = f"{folder}/.{os.urandom(16).hex()}"
    descriptor = open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
        _rename(temporary, target, durable=durable)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def make_folder(folder: str, *, durable: bool) -> None:
    """Make a folder and its missing parents."""
    above = os.path.dirname(folder)
    if above and not os.path.isdir(above):
        make_folder(above, durable=durable)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if durable:
        sync_folder(above)


def link(source: str, target: str) -> None:
    """Give a file a second name. Raises FileNotFoundError if there is no such file."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(source, target)


def open_plain(path: str | Path, flags: int) -> int:
    """Open a file, and return its descriptor: an opener for `open`. With O_CREAT, a missing folder
    is made, too. Raises OSError for a symbolic link."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o660)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        make_folder(os.path.dirname(path), durable=False)
        return os.open(path, flags | os.O_NOFOLLOW, 0o660)


def read_file(path: Path) -> bytes:
    """Return a file's bytes. Raises FileNotFoundError for a symbolic link, too."""
    try:
        with open(path, "rb", opener=open_plain) as file:
            return file.read()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "a symbolic link", str(path)) from error
        raise


def sync_folder(folder: str) -> None:
    """Bring the names in a folder to disk. Nothing is read or written, so the folder may be a link:
    ``data_dir`` is allowed to be one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
