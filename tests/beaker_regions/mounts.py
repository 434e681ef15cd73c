"""A disk of a test's own, to fill and to make read-only, which no other process sees."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
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
            _unshare_mounts()
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
            _mount("none", "/", _MS_REC | _MS_PRIVATE, "")
        self._mount(0, f"size={size}")

    def fill(self) -> Path:
        """Leave no room; return the file that takes it."""
        filler = Path(self._folder, "filler")
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return filler

    def make_read_only(self) -> None:
        self._mount(_MS_REMOUNT | _MS_RDONLY, "")

    def make_writable(self) -> None:
        self._mount(_MS_REMOUNT, "")

    def _mount(self, flags: int, options: str) -> None:
        _mount("tmpfs", self._folder, flags, options)


def mount_coarse(folder: Path) -> None:
    """Mount an empty ext4 at ``folder``, in this process and its children. Its clock ticks once a
    second, as on a disk with inodes of 128 bytes. Raises OSError without root or loop devices."""
    image = folder.with_name(f"{folder.name}.image")
    image.write_bytes(b"")
    os.truncate(image, 4 << 20)
    folder.mkdir(exist_ok=True)
    _unshare_mounts()
    for command in (
        ["mkfs.ext4", "-q", "-I", "128", str(image)],
        ["mount", "-o", "loop", str(image), str(folder)],
    ):
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
            raise OSError(f"{command[0]} fails")


def _unshare_mounts() -> None:
    _call("unshare", _CLONE_NEWNS)
    _mount("none", "/", _MS_REC | _MS_PRIVATE, "")


def _mount(kind: str, folder: str, flags: int, options: str) -> None:
    name = kind.encode()
    _call("mount", name, folder.encode(), name, ctypes.c_ulong(flags), options.encode())


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
