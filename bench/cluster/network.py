"""Hosts that are network namespaces, joined by a bridge, and cuts between them.

Everything is made inside network, mount and process namespaces of the program's own, and a user
namespace for who is not root: the machine's network is not touched, and all of it goes when the
program ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tests.servers import SEARCH_PATH

_CLONE_NEWNET = 0x40000000
_INSIDE = "REGIONS_BENCH_CLUSTER"
"""Set in the environment of a program that has its own namespaces."""
_NETWORK = "10.77.0"
_TOOLS: Mapping[str, str] = {
    "ip": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "memcached": "memcached",
}
"""Programs, and Debian's package of each."""
_HOW = ("drop", "reject with tcp reset")

_libc = ctypes.CDLL(None, use_errno=True)


def missing(tools: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Return what keeps this machine from having hosts with ``tools`` (programs, and Debian's
    package of each), or None."""
    if absent := [package for tool, package in {**_TOOLS, **tools}.items() if not _where(tool)]:
        return f"programs are missing: apt-get install {' '.join(absent)}"
    tried = subprocess.run(
        [*_unshare(), _where("ip") or "", "link"], capture_output=True, text=True
    )
    if tried.returncode:
        return (
            "this machine allows neither root's network namespaces nor those of a user "
            f"(kernel.unprivileged_userns_clone, a container's seccomp): {tried.stderr.strip()}"
        )
    return None


def enter(module: str) -> None:
    """Run this program, ``module``, again in namespaces of its own, unless it has them."""
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "yes"
        arguments = [*_unshare(), sys.executable, "-m", module, *sys.argv[1:]]
        os.execv(arguments[0], arguments)
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "cluster", "type", "bridge")
    run("ip", "address", "add", f"{_NETWORK}.254/24", "dev", "cluster")
    run("ip", "link", "set", "cluster", "up")


def _unshare() -> list[str]:
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    # Processes, too: all that the program has started ends with it.
    own = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
    return [_where("unshare") or "", *user, *own]


def _where(tool: str) -> str | None:
    return shutil.which(tool, path=SEARCH_PATH)


def run(*command: str, given: str | None = None) -> None:
    environment = {**os.environ, "PATH": SEARCH_PATH}
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} {given or ''}: {done.stderr.strip()}")


class Host:
    """A host with one address, that reaches all others."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.address = name, f"{_NETWORK}.{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "eth0", "netns", name)
        run("ip", "link", "set", f"to-{name}", "master", "cluster", "up")
        with self.inside():
            run("ip", "link", "set", "lo", "up")
            run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
            run("ip", "link", "set", "eth0", "up")
            chains = [
                f"add chain ip cuts {way} {{ type filter hook {way} priority 0; }}"
                for way in ("input", "output")
            ]
            run("nft", "-f", "-", given="\n".join(["add table ip cuts", *chains]))

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and the processes that it starts, are on this host."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut(self, *others: Host, refused: bool = False) -> None:
        """Let nothing through between this host and the others; ``refused``: connections are
        reset at once, as a firewall may, instead of silence."""
        rules = []
        for other in others:
            sent = f"ip daddr {other.address} meta l4proto tcp {_HOW[refused]}"
            rules += [
                f"add rule ip cuts output {sent}",
                # From there: a reset comes from this host itself, in the other's name.
                f"add rule ip cuts input iifname eth0 ip saddr {other.address} drop",
            ]
        with self.inside():
            run("nft", "-f", "-", given="\n".join(rules))

    def heal(self) -> None:
        """Let everything through again."""
        with self.inside():
            run("nft", "flush table ip cuts")


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
