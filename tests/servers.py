"""Real servers for tests: started on free ports in temporary folders, and ended with the run.

Each can be stopped, killed, paused and started again on the same port. The kernel ends them when
the process that started them dies, however it dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import re
import secrets
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

START_SECONDS = 60
SEARCH_PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
"""Where programs of an administrator are found, too."""
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def _ports() -> Iterator[int]:
    """Yield, again and again, 200 ports that no other run of tests gets while this process lives.
    The kernel gives none of them to a connection."""
    mark = socket.socket(socket.AF_UNIX)
    while True:
        first = 10_000 + 200 * secrets.randbelow(100)
        with contextlib.suppress(OSError):
            mark.bind(f"\0ports of the tests from {first}")
            yield from itertools.cycle(range(first, first + 200))


_own_ports = _ports()


def free_port() -> int:
    """Return a port on which nothing listens now, and that no other run of tests takes."""
    while True:
        port = next(_own_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A server process that listens on ``port`` of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = free_port()
        self.environment: dict[str, str] = {}
        """Variables for the process, beside those of the tests' own."""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start, and wait until connections are taken."""
        environment = {**os.environ, "PATH": SEARCH_PATH, **self.environment}
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(
                        f"{self.command()[0]} ended at once, with status {self.process.returncode}"
                    ) from None
                if time.monotonic() > deadline:
                    self.kill()
                    raise
                time.sleep(0.01)

    def pause(self) -> None:
        """Hang: connections are taken by the kernel, nothing is answered."""
        assert self.process is not None, "the server was not started"
        self.process.send_signal(signal.SIGSTOP)
        # The signal has to reach each of its threads.
        for stat in Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
            while stat.read_text().rpartition(")")[2].split()[0] != "T":
                time.sleep(0.001)

    def resume(self) -> None:
        assert self.process is not None, "the server was not started"
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End at once, and wait for it; connections are refused from then on."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End in order, and wait for it."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        self.process.wait(START_SECONDS)
        self.process = None

    def restart(self) -> None:
        """Kill and start again on the same port; what was only in memory is gone."""
        self.kill()
        self.start()


_LAST_LINES = (b"END\r\n", b"OK\r\n", b"STORED\r\n", b"ERROR\r\n", b"object\r\n")


class Memcached(Server):
    """A memcached of 64 MB; ``options`` are further ones of its command line."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    def command(self) -> list[str]:
        return [
            "memcached",
            *("-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "2"),
            *("-u", pwd.getpwuid(os.getuid()).pw_name),
            *self._options,
        ]

    def ask(self, line: str) -> bytes:
        """Send one line of the text protocol, and return the answer up to its last line."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(line.encode() + b"\r\n")
            answer = b""
            while not answer.endswith(_LAST_LINES):
                received = connection.recv(65536)
                if not received:
                    break
                answer += received
        return answer

    def flush(self) -> None:
        """Forget everything."""
        assert self.ask("flush_all") == b"OK\r\n"

    def keys(self) -> list[str]:
        """Return the keys of all items."""
        answer = self.ask("lru_crawler metadump all").decode()
        return [unquote(key) for key in re.findall(r"key=(\S+)", answer)]

    def stats(self) -> dict[str, int]:
        """Return the server's own counters that are whole numbers, by name."""
        lines = [line.split() for line in self.ask("stats").decode().splitlines()]
        return {line[1]: int(line[2]) for line in lines if len(line) == 3 and line[2].isdecimal()}


class PasswordMemcached(Memcached):
    """A memcached that only `USER` may use; ``folder`` is for its files."""

    USER, PASSWORD = "somebody@of-the-tests", "open sesame"

    def __init__(self, folder: Path) -> None:
        super().__init__("-S")
        user, _, realm = self.USER.partition("@")
        passwords = str(folder / "passwords")
        subprocess.run(
            ["saslpasswd2", "-c", "-p", "-f", passwords, "-a", "memcached", "-u", realm, user],
            input=self.PASSWORD.encode(),
            env={"PATH": SEARCH_PATH},
            check=True,
        )
        (folder / "memcached.conf").write_text(
            "mech_list: plain\n"
            "pwcheck_method: auxprop\n"
            "auxprop_plugin: sasldb\n"
            f"sasldb_path: {passwords}\n"
        )
        self.environment["SASL_CONF_PATH"] = str(folder)

    def flush(self) -> None:
        """Empty it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            for command, key, value in (
                (0x21, b"PLAIN", f"\0{self.USER}\0{self.PASSWORD}".encode()),
                (0x08, b"", b""),
            ):
                head = struct.pack(">BBHIIIQ", 0x80, command, len(key), 0, len(key + value), 0, 0)
                connection.sendall(head + key + value)
                answer = connection.recv(1024)
                assert answer[:2] == bytes((0x81, command)), answer
                assert answer[6:8] == b"\0\0", answer


class Redis(Server):
    """A Redis, or what the variable REDIS_SERVER names, such as valkey-server. ``options`` are
    further ones of its command line, in which PORT is its port. Without a ``--dir`` among them it
    keeps nothing on disk."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    def command(self) -> list[str]:
        given = [str(self.port) if each == "PORT" else each for each in self._options]
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *given]
        return [os.environ.get("REDIS_SERVER", "redis-server"), *own]

    def ask(self, *words: str) -> bytes:
        """Send a command, and return its answer, if that is one line."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            answer = b""
            while not answer.endswith(b"\r\n"):
                received = connection.recv(65536)
                if not received:
                    break
                answer += received
        return answer.removesuffix(b"\r\n")

    def ask_large(self, command: str) -> str:
        """As `ask`, for an answer of many lines."""
        return self._whole(command, "PING")

    def config(self, name: str) -> str:
        """Return one of the server's options."""
        return self.ask_large(f"CONFIG GET {name}").split("\r\n")[4]

    def flush(self) -> None:
        """Forget everything."""
        assert self.ask("FLUSHALL") == b"+OK"

    def keys(self) -> list[str]:
        """Return all keys."""
        return re.findall(r"\r\n([^$*:+\r]\S*)(?=\r\n)", self._whole("KEYS *", "DBSIZE"))

    def info(self, name: str) -> str:
        """Return one of the values of INFO."""
        found = re.search(rf"^{name}:(\S*)", self._whole("INFO", "PING"), re.MULTILINE)
        assert found is not None, name
        return found[1]

    def _whole(self, command: str, last: str) -> str:
        """Return the answer to a command, and that to the one-line command that is sent after."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"{command}\r\n{last}\r\nQUIT\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    @property
    def url(self) -> str:
        return f"redis://{self.address}"


class MariaDB(Server):
    """A MariaDB with its data in ``folder``, and a root user without password."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.url = f"mysql://root@127.0.0.1:{self.port}/tasks"

    def start(self) -> None:
        if not self._folder.exists():
            self._folder.mkdir(parents=True)
            subprocess.run(
                [
                    "mariadb-install-db",
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    *self._common(),
                ],
                stdout=subprocess.DEVNULL,
                check=True,
            )
        super().start()

    def command(self) -> list[str]:
        return [
            "mariadbd",
            "--no-defaults",
            *self._common(),
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            f"--socket={self._folder / 'socket'}",
            # What is lost when the machine stops is a test's.
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
        ]

    def _common(self) -> list[str]:
        user = pwd.getpwuid(os.getuid()).pw_name
        return [f"--datadir={self._folder}", f"--user={user}"]
