"""A GlusterFS volume of two bricks, and hosts that have it mounted, each through its own client.

Storage, hosts and a memcached are network namespaces. All files lie in memory, mounted in a mount
namespace of the program's own, so nothing is left behind however it ends, and a GlusterFS that
this machine may have is not touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from bench.cluster import network
from bench.cluster.machines import OpenMemcached
from bench.cluster.network import Host, run
from tests.servers import SEARCH_PATH

PING_SECONDS = 5
"""network.ping-timeout: how long a client waits for a server that says nothing. GlusterFS's own
default is 42."""
START_SECONDS = 30

_TOOLS = {
    "glusterd": "glusterfs-server",
    "gluster": "glusterfs-cli",
    "glusterfs": "glusterfs-client",
}
"""Programs, and Debian's package of each."""
_ROOM = Path("/run/shared-folder")
"""In the memory of this program's own /run (`bench.cluster.network.enter`)."""
_OWN = ("/var/lib/glusterd", "/var/log/glusterfs")
"""Folders that GlusterFS insists on."""


class Caches(NamedTuple):
    """How much the clients remember of what the servers have."""

    name: str
    groups: tuple[str, ...] = ()
    """Sets of options that come with GlusterFS."""
    options: tuple[tuple[str, str], ...] = ()
    """Of the volume."""
    mount: tuple[str, ...] = ()


DEFAULT = Caches("default")
MOST = Caches(
    "all, 600 s",
    # For 600 s, or until the server tells of a change.
    groups=("metadata-cache", "nl-cache"),
    options=(
        ("performance.io-cache", "on"),
        ("performance.cache-refresh-timeout", "60"),
        ("performance.qr-cache-timeout", "600"),
        ("performance.quick-read-cache-invalidation", "on"),
        ("performance.readdir-ahead", "on"),
        ("performance.parallel-readdir", "on"),
        ("performance.nl-cache-positive-entry", "on"),
    ),
    # The kernel's own: only a client that learns of it can make it forget.
    mount=("--entry-timeout=600", "--attribute-timeout=600", "--negative-timeout=60"),
)


def missing() -> str | None:
    """Return what keeps this machine from running it, or None."""
    if os.getuid() != 0:
        return "GlusterFS needs root: its servers keep trusted extended attributes"
    if not os.path.exists("/dev/fuse"):
        return "this machine has no /dev/fuse"
    return network.missing(_TOOLS)


class Volume:
    """The running servers."""

    def __init__(self) -> None:
        self.storage, self._memcached_host = Host("storage", 1), Host("memcached", 2)
        self.memcached = OpenMemcached()
        self.memcached.port = 11211
        with self._memcached_host.inside():
            self.memcached.start()
        self.address = f"{self._memcached_host.address}:{self.memcached.port}"
        for folder in _OWN:
            run("mount", "-t", "tmpfs", "tmpfs", folder)
        self._manager = self._start_manager()
        self._create()

    def _start_manager(self) -> subprocess.Popen[bytes]:
        os.makedirs("/run/gluster", exist_ok=True)
        with self.storage.inside():
            manager = subprocess.Popen(
                ["glusterd", "--no-daemon", "--log-level=ERROR"],
                env={**os.environ, "PATH": SEARCH_PATH},
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._gluster("pool", "list")
            except RuntimeError:
                if manager.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return manager

    def _gluster(self, *command: str) -> None:
        with self.storage.inside():
            run("gluster", "--mode=script", *command)

    def _create(self) -> None:
        bricks = [_ROOM / "bricks" / name for name in ("one", "other")]
        for brick in bricks:
            brick.mkdir(parents=True)
        places = [f"{self.storage.address}:{brick}" for brick in bricks]
        # "force": the bricks are on no disk of their own.
        self._gluster("volume", "create", "shared", *places, "force")
        self._gluster("volume", "set", "shared", "network.ping-timeout", str(PING_SECONDS))
        self._gluster("volume", "start", "shared")

    def set(self, caches: Caches) -> None:
        groups = Path("/var/lib/glusterd/groups")
        groups.mkdir(exist_ok=True)
        for group in caches.groups:
            # Where Debian's package has it; it is linked to from the folder that is hidden here.
            shutil.copy(f"/etc/glusterfs/group-{group}", groups / group)
            self._gluster("volume", "set", "shared", "group", group)
        for option, value in caches.options:
            self._gluster("volume", "set", "shared", option, value)

    # -- faults ----------------------------------------------------------------------------

    def _bricks(self) -> list[int]:
        """Return the ids of the servers' processes, the manager's not."""
        files = Path("/run/gluster/vols/shared").glob("*.pid")
        return [int(file.read_text()) for file in files]

    def pause(self) -> None:
        """Hang: what is asked stays without an answer."""
        for process in (*self._bricks(), self._manager.pid):
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        for process in (*self._bricks(), self._manager.pid):
            os.kill(process, signal.SIGCONT)

    def kill(self) -> None:
        for process in self._bricks():
            os.kill(process, signal.SIGKILL)
            # An orphan, and so this program's, the first in its namespace. While its id is taken
            # it counts as running.
            os.waitpid(process, 0)

    def restart(self) -> None:
        """Start the servers that were killed."""
        self._gluster("volume", "start", "shared", "force")

    def stop(self) -> None:
        self.kill()
        self._manager.kill()
        self._manager.wait()
        self.memcached.kill()


class Client:
    """A host that has the volume mounted."""

    def __init__(self, name: str, number: int, volume: Volume) -> None:
        self.host = Host(name, number)
        self.folder = _ROOM / name / "shared"
        self.own_folder = _ROOM / name / "own"
        self._volume = volume
        self._process: subprocess.Popen[bytes] | None = None
        for folder in (self.folder, self.own_folder):
            folder.mkdir(parents=True)

    def mount(self, caches: Caches) -> None:
        command = [
            *("glusterfs", "--no-daemon", "--process-name=fuse", "--log-level=ERROR"),
            f"--volfile-server={self._volume.storage.address}",
            "--volfile-id=/shared",
            *(f"--log-file=/var/log/glusterfs/{self.host.name}.log", *caches.mount),
            str(self.folder),
        ]
        with self.host.inside():
            self._process = subprocess.Popen(command, env={**os.environ, "PATH": SEARCH_PATH})
        deadline = time.monotonic() + START_SECONDS
        while not os.path.ismount(self.folder):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.host.name} cannot mount the volume")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the file system's client, and leave its mount as it is then."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def unmount(self) -> None:
        """Unmount, even if a process uses it."""
        run("umount", "--lazy", str(self.folder))
        self.kill()
