"""A real Redis Cluster for tests: three masters, and a fourth node."""

from __future__ import annotations

import random
import re
import socket
from functools import partial
from typing import TYPE_CHECKING

from tests.servers import Redis
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 16384


def _bus_port() -> int:
    """Return a port that no outgoing connection gets before the node listens there: a node whose
    port for the others is taken ends after it has taken connections of clients."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class RedisCluster:
    """Its nodes have their folders in ``folder``. ``spare`` has no slots, and may become a
    replica."""

    def __init__(self, folder: Path) -> None:
        own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "60000"]
        own += ["--repl-diskless-sync-delay", "0", "--cluster-require-full-coverage", "no"]
        self.nodes: list[Redis] = []
        for number in range(4):
            (folder / str(number)).mkdir(parents=True)
            folders = ["--dir", str(folder / str(number))]
            self.nodes.append(Redis(*own, "--cluster-port", str(_bus_port()), *folders))
        *self.masters, self.spare = self.nodes

    def start(self) -> None:
        """Start, and wait until each node knows all others."""
        for node in self.nodes:
            node.start()
        bounds = [0, 5461, 10923, SLOTS]
        for number, node in enumerate(self.masters):
            slots = f"{bounds[number]} {bounds[number + 1] - 1}"
            self.tell(node, f"ADDSLOTSRANGE {slots}")
            self.tell(node, f"SET-CONFIG-EPOCH {number + 1}")
        first = self.nodes[0]
        bus = first.config("cluster-port")
        for node in self.nodes[1:]:
            self.tell(node, f"MEET 127.0.0.1 {first.port} {bus}")
        for each in ("known_nodes:4", "slots_ok:16384", "state:ok"):
            until(partial(self._all_say, each))

    def _all_say(self, words: str) -> bool:
        return all(words in self.info(node) for node in self.nodes)

    def tell(self, node: Redis, command: str) -> None:
        answer = node.ask(f"CLUSTER {command}")
        assert answer == b"+OK", answer

    def info(self, node: Redis) -> str:
        return node.ask_large("CLUSTER INFO")

    def id_of(self, node: Redis) -> str:
        return node.ask_large("CLUSTER MYID").split("\r\n")[1]

    def role_of(self, node: Redis) -> str:
        return node.info("role")

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.masters)

    def flush(self) -> None:
        """Forget everything."""
        for node in self.running():
            if self.role_of(node) == "master":
                node.flush()

    def all_keys(self) -> list[str]:
        """Return all keys."""
        return [key for node in self.masters for key in sorted(node.keys())]

    def keys_at(self, node: Redis, slot: int) -> list[str]:
        found = node.ask_large(f"CLUSTER GETKEYSINSLOT {slot} 1000").split("\r\n")
        return [key for key in found if key.startswith("brg1:")]

    def begin_move(self, slot: int, source: Redis, target: Redis) -> None:
        self.tell(target, f"SETSLOT {slot} IMPORTING {self.id_of(source)}")
        self.tell(source, f"SETSLOT {slot} MIGRATING {self.id_of(target)}")

    def move_keys(self, keys: list[str], source: Redis, target: Redis) -> None:
        for key in keys:
            answer = source.ask(f"MIGRATE 127.0.0.1 {target.port} {key} 0 5000")
            assert answer in (b"+OK", b"+NOKEY"), answer

    def end_move(self, slot: int, source: Redis, target: Redis) -> None:
        id_ = self.id_of(target)
        for node in (target, source):
            self.tell(node, f"SETSLOT {slot} NODE {id_}")
        # Otherwise the next move may be in contradiction to this one, and the nodes never agree.
        epoch = re.search(r"my_epoch:(\d+)", self.info(target))
        assert epoch is not None
        known = re.compile(rf"^{id_} (?:\S+ ){{5}}{epoch[1]} ", re.MULTILINE)
        until(lambda: all(known.search(node.ask_large("CLUSTER NODES")) for node in self.running()))

    def running(self) -> list[Redis]:
        return [node for node in self.nodes if node.process is not None]
