"""A program that turns an archive of another format into a tar, with the C library libarchive.

    python -I -S as_tar.py FORMAT... < ARCHIVE > TAR

It is a process of its own, with a limit of its memory: libarchive reads what anybody has made. Only
the given formats are read. libarchive knows others (mtree) that name files of this machine, and
filters that start programs. It exits with `DAMAGED` after the files before the damage, with
`REFUSED` if none may be used, and says why on the standard error.
"""

from __future__ import annotations

import ctypes
import resource
import stat
import sys
from typing import NoReturn

LIBRARY = "libarchive.so.13"
"""Its name has not changed since 2012."""
DAMAGED = 1
REFUSED = 2
_MEMORY = 512 * 1024 * 1024
"""Bytes: enough for a dictionary of 128 MiB, as for the other formats, and for this program."""
_BLOCK = 1024 * 1024
_END = 1
"""What libarchive returns at the end of an archive. Errors are negative."""
_KINDS = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK}
"""Of the entries of a tar."""

_Handle = ctypes.c_void_p
_CALLS: dict[str, tuple[object, ...]] = {
    # name: the type of the result, and those of the arguments
    "archive_read_new": (_Handle,),
    "archive_read_open_fd": (ctypes.c_int, _Handle, ctypes.c_int, ctypes.c_size_t),
    "archive_read_next_header": (ctypes.c_int, _Handle, ctypes.POINTER(_Handle)),
    "archive_read_data": (ctypes.c_ssize_t, _Handle, ctypes.c_char_p, ctypes.c_size_t),
    "archive_entry_hardlink": (ctypes.c_char_p, _Handle),
    "archive_entry_size": (ctypes.c_int64, _Handle),
    "archive_entry_filetype": (ctypes.c_int, _Handle),
    "archive_entry_set_filetype": (None, _Handle, ctypes.c_uint),
    "archive_error_string": (ctypes.c_char_p, _Handle),
    "archive_write_new": (_Handle,),
    "archive_write_set_format_gnutar": (ctypes.c_int, _Handle),
    "archive_write_open_fd": (ctypes.c_int, _Handle, ctypes.c_int),
    "archive_write_header": (ctypes.c_int, _Handle, _Handle),
    "archive_write_data": (ctypes.c_ssize_t, _Handle, ctypes.c_char_p, ctypes.c_size_t),
    "archive_write_close": (ctypes.c_int, _Handle),
}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    library = ctypes.CDLL(LIBRARY)
    for name, (result, *arguments) in _CALLS.items():
        getattr(library, name).restype = result
        getattr(library, name).argtypes = arguments
    source = _Handle(library.archive_read_new())
    for name in sys.argv[1:]:
        enable = getattr(library, f"archive_read_support_format_{name}")
        enable.argtypes = [_Handle]
        enable(source)
    tar = _Handle(library.archive_write_new())
    library.archive_write_set_format_gnutar(tar)
    library.archive_write_open_fd(tar, 1)

    def checked(result: int, of: ctypes.c_void_p) -> int:
        if result < 0:
            said = library.archive_error_string(of) or b"it ends too early"
            end(said.decode("utf-8", "replace"), DAMAGED)
        return result

    checked(library.archive_read_open_fd(source, 0, _BLOCK), source)
    entry = _Handle()
    block = ctypes.create_string_buffer(_BLOCK)
    while checked(library.archive_read_next_header(source, ctypes.byref(entry)), source) != _END:
        if library.archive_entry_hardlink(entry) and library.archive_entry_size(entry) > 0:
            # The names before it have no content in the archive.
            end("has hard links whose content is with the last of them", REFUSED)
        kind = library.archive_entry_filetype(entry)
        if kind not in _KINDS:
            # Packages of Debian name no kind. A tar has no sockets, but pipes, which are no files.
            library.archive_entry_set_filetype(entry, stat.S_IFIFO if kind else stat.S_IFREG)
        checked(library.archive_write_header(tar, entry), tar)
        # The checksum of a file is verified at its end. What was read last is written after that.
        latest = b""
        while size := checked(library.archive_read_data(source, block, _BLOCK), source):
            checked(library.archive_write_data(tar, latest, len(latest)), tar)
            latest = block.raw[:size]
        checked(library.archive_write_data(tar, latest, len(latest)), tar)
    checked(library.archive_write_close(tar), tar)


def end(reason: str, status: int) -> NoReturn:
    """End this process, with a reason."""
    sys.stderr.write(reason)
    sys.exit(status)


if __name__ == "__main__":
    main()
