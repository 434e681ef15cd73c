"""A disk of a test's own, to fill and to make read-only, which no other process sees."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """An empty disk of ``size`` bytes, mounted at ``folder`` in this process and its children.

    Make it in a child: it stays until the process ends. Needs neither root nor a device.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = str(folder)
        folder.mkdir(exist_ok=True)
        try:
            _call("unshare", _CLONE_NEWNS)
        except PermissionError:
            user, group = os.getuid(), os.getgid()
            _call("unshare", _CLONE_NEWNS | _CLONE_NEWUSER)
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"0 {user} 1"),
                ("gid_map", f"0 {group} 1"),
            ):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
        self._mount("none", "/", _MS_REC | _MS_PRIVATE, "")
        self._mount("tmpfs", self._folder, 0, f"size={size}")

    def fill(self) -> Path:
        """Leave no room; return the file that takes it."""
        filler = Path(self._folder, "filler")
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return filler

    def make_read_only(self) -> None:
        self._mount("tmpfs", self._folder, _MS_REMOUNT | _MS_RDONLY, "")

    def make_writable(self) -> None:
        self._mount("tmpfs", self._folder, _MS_REMOUNT, "")

    def _mount(self, kind: str, folder: str, flags: int, options: str) -> None:
        name = kind.encode()
        _call("mount", name, folder.encode(), name, ctypes.c_ulong(flags), options.encode())


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
