"""Hosts with files of their own, or of one folder, that meet on servers: a process each."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beaker_regions.entries.content import Resumable
from tests.beaker_regions.conftest import make_manager
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


class Truth:
    """What the functions of all hosts read: a number, from a folder that is none of the regions'.
    Loads are noted in a file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._number = folder / "number"
        self._loads = folder / "loads"
        self._loads.touch()
        self.is_now(0)

    def is_now(self, number: int) -> None:
        self._number.write_text(str(number))

    def load(self) -> int:
        with self._loads.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return int(self._number.read_text())

    @property
    def loads(self) -> int:
        return len(self._loads.read_text().split())


class Download(Resumable):
    """Content that can be resumed, from its first byte at least."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def pieces(self, have: int) -> Iterator[tuple[int, bytes]]:
        size = 0
        for chunk in self._chunks:
            yield size, chunk
            size += len(chunk)

    def verify(self, size: int, digest: str) -> None:
        pass


CHUNK, CHUNKS = b"x" * 50_000, 25


def _serve(connection: Connection, truth: Truth, options: dict[str, Any]) -> None:
    """Do what a host is asked, until the last request."""
    cache = make_manager("files", **options)

    @cache.region("files", tags=["tag"])
    def number(pause: float) -> int:
        time.sleep(pause)
        return truth.load()

    def chunks(pause: float) -> Iterator[bytes]:
        yield b"%d" % truth.load()
        for _ in range(CHUNKS):
            time.sleep(pause)
            yield CHUNK

    @cache.region("files", tags=["tag"])
    def stream(pause: float) -> Iterator[bytes]:
        return chunks(pause)

    @cache.region("files", tags=["tag"])
    def download(pause: float) -> Resumable:
        return Download(chunks(pause))

    streams = {"stream": stream, "download": download}
    values, items = cache.values("files", "values"), cache.get_cache_region("items", "files")

    def content(way: str, pause: float = 0.0) -> int:
        read = streams[way](pause).read_bytes()
        whole = len(CHUNK) * CHUNKS
        assert hashlib.sha256(read[-whole:]).digest() == hashlib.sha256(CHUNK * CHUNKS).digest()
        return int(read[:-whole])

    def is_stored(way: str, pause: float = 0.0) -> bool:
        found = streams[way].peek(pause)
        if found is not None:
            found.close()
        return found is not None

    tasks: dict[str, Callable[..., Any]] = {
        "number": lambda pause=0.0: number(pause),
        "many": lambda: number.many([0.0, 1e-9]),
        "content": content,
        "is stored": is_stored,
        "entry": lambda: [function.invalidate(0.0) for function in (number, stream, download)],
        "function": lambda: [f.invalidate_all() for f in (number, stream, download)],
        "tag": lambda: cache.invalidate_tags("tag"),
        "region": lambda: cache.invalidate_region("files"),
        "refresh": lambda: [function.refresh(0.0) for function in (number, stream)] and None,
        "set value": lambda value: values.set("key", value),
        "value": lambda: values.get("key"),
        "set item": lambda value: items.__setitem__("key", value),
        "item": lambda: items.get("key"),
        "count": lambda: cache.counter("files", "counter").add(),
        "failures": lambda: sum(
            count
            for event, count in cache["files"].stats.snapshot().items()
            if event.startswith("failed")
        ),
    }
    while True:
        try:
            task, *args = connection.recv()
        except EOFError:
            return
        try:
            connection.send((tasks[task](*args), None))
        except Exception as error:
            connection.send((None, repr(error)))


class Host:
    """A process of a host whose files are in ``folder``."""

    def __init__(
        self, folder: Path, truth: Truth, address: str, lease: float = 10, **servers: Any
    ) -> None:
        options = {
            "type": "file",
            "data_dir": folder,
            "secret": "of the tests",
            "lease": lease,
            "cluster": "servers",
            # A busy machine is no fault.
            "servers": {"url": address, "timeout": 5, **servers},
        }
        self._connection, theirs = processes.Pipe()
        self._process = processes.Process(target=_serve, args=(theirs, truth, options), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, task: str, *args: Any) -> None:
        """Let a task begin, whose result `end` returns."""
        self._connection.send((task, *args))

    def end(self) -> Any:
        assert self._connection.poll(PATIENCE), "the host does not answer"
        result, error = self._connection.recv()
        assert error is None, error
        return result

    def do(self, task: str, *args: Any) -> Any:
        """Do a task; return its result."""
        self.begin(task, *args)
        return self.end()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)
