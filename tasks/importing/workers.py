"""Stores files in several processes: Python runs the code of one thread at a time, and most of the
time that a small file takes goes into code.

The processes are forked, so they begin at once and share the memory of this one. They write no
rows, and do not use its connections to the database. Each gets lists of files over a pipe and
answers with the results. A process ends when the pipe is closed, even if this one is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from django.db import connections

from tasks.importing.ahead import Ahead
from tasks.importing.jobs import SIGNAL_SECONDS, map_as_completed
from tasks.importing.reading import UNCHANGED, FileToRead, Result, StoredFile, are_stored
from tasks.importing.room import RegionFullError
from tasks.importing.sources import SourceError, SourceFileInfo
from tasks.sources.fetching.patience import patience, use_patience
from tasks.sources.progress import Progress

MOST = 8
"""Processes: more of them take memory, and wait for the same disk."""
FILES = 64
"""The most files in a list."""
NAMES = 20_000
"""Characters of the names in a list. A pipe holds a whole one: a process that works on another list
takes none out, and it waits itself if its answers are not taken."""
BYTES = 4 * 1024 * 1024
"""The most bytes of a list of several files."""
DOWNLOADS = 32
"""The most files of unknown size in a list. They come from a server, and the next ones may be
large."""
_ANSWER_SECONDS = 0.2
"""Seconds between two answers of a process."""
_QUEUED = 2
"""Lists that each process has, so that it need not wait for the next one."""

_said: list[str] = []
"""Lines for the operator, in a process that was started here."""

Read = Callable[[FileToRead], Result]
Report = Callable[[int, int], None]


class _Answer(NamedTuple):
    read: int
    """Bytes that were read since the last answer."""
    unexpected: int
    """And those that were not expected."""
    grown: int
    """Bytes by which the region has grown since."""
    results: list[tuple[int, Result, int]]
    """Positions in the list, results, and the bytes of each file that are left."""
    said: list[str]
    """Lines for the operator."""
    error: Exception | None
    """Ends the run."""
    is_last: bool
    """Whether this is the last answer for its list."""


class _Worker:
    """A process, seen from its parent."""

    def __init__(self, process: int, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.lists: list[list[FileToRead]] = []
        """What it works on; the oldest first."""


def map_in_processes(
    jobs: int,
    read: Read,
    files: Iterable[FileToRead],
    report: Report,
    grown: tuple[Callable[[], int], Callable[[int], None]],
) -> Generator[tuple[FileToRead, Result], None, None]:
    """Yield each file with the result of ``read``, in the order of completion.

    ``jobs`` files are read at the same time. ``report`` gets the bytes that were read and that were
    not expected. ``grown`` takes the bytes of the region that a process has not counted, and counts
    them here. An exception of ``read`` is raised here.
    """
    processes = min(jobs, os.cpu_count() or 1, MOST)
    threads = [len(range(number, jobs, processes)) for number in range(processes)]
    workers: list[_Worker] = []
    try:
        for its in threads:
            workers.append(_start(read, its, grown[0], workers))
        # Files of unknown size come from a server. At first, a list has four for each thread.
        sizes = _Sizes(BYTES // (4 * threads[0]))
        yield from _distribute(workers, _lists(files, sizes), sizes, report, grown[1])
    finally:
        for worker in workers:
            worker.pipe.close()
            # It has nothing to lose that the next run would not find.
            os.kill(worker.process, signal.SIGKILL)
        for worker in workers:
            os.waitpid(worker.process, 0)


def _distribute(
    workers: list[_Worker],
    lists: Iterator[list[FileToRead]],
    sizes: _Sizes,
    report: Report,
    count: Callable[[int], None],
) -> Iterator[tuple[FileToRead, Result]]:
    pipes = {worker.pipe: worker for worker in workers}
    is_over = False
    while True:
        for worker in workers:
            while not is_over and len(worker.lists) < _QUEUED:
                files = next(lists, None)
                if files is None:
                    is_over = True
                    break
                worker.lists.append(files)
                with _refused_if_killed():
                    worker.pipe.send([(file.found, file.digest) for file in files])
        busy = [worker.pipe for worker in workers if worker.lists]
        if not busy:
            return
        for pipe in wait(busy, SIGNAL_SECONDS):
            assert isinstance(pipe, Connection)
            worker = pipes[pipe]
            with _refused_if_killed():
                answer: _Answer = pipe.recv()
            report(answer.read, answer.unexpected)
            for line in answer.said:
                patience().say(line)
            count(answer.grown)
            sizes.note(result for _, result, _ in answer.results)
            for position, result, left in answer.results:
                file = worker.lists[0][position]
                file.progress.settle(left)
                yield file, result
            if answer.error is not None:
                raise answer.error
            if answer.is_last:
                del worker.lists[0]


@contextlib.contextmanager
def _refused_if_killed() -> Iterator[None]:
    """Raise SourceError if the process at the other end of a pipe has ended."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise SourceError("a process of the import was killed; run it again") from error


class _Sizes:
    """The usual size of the files that were read last, in bytes."""

    def __init__(self, usual: int) -> None:
        self.usual = usual

    def note(self, results: Iterable[Result]) -> None:
        """Take an answer into account."""
        sizes = [result.size for result in results if isinstance(result, StoredFile)]
        if sizes:
            self.usual = sum(sizes) // len(sizes)


def _lists(files: Iterable[FileToRead], sizes: _Sizes) -> Iterator[list[FileToRead]]:
    """Yield lists of files that take about equally long."""
    batch: list[FileToRead] = []
    size = names = 0
    for file in files:
        expected = 0 if file.digest else file.found.size
        if expected is None:
            expected = max(sizes.usual, BYTES // DOWNLOADS)
        size += expected
        if batch and size > BYTES:
            yield batch
            batch, size, names = [], expected, 0
        batch.append(file)
        names += len(file.found.path) + len(file.found.source)
        if len(batch) == FILES or names > NAMES:
            yield batch
            batch, size, names = [], 0, 0
    if batch:
        yield batch


def _start(read: Read, threads: int, take: Callable[[], int], others: list[_Worker]) -> _Worker:
    here, there = Pipe()
    process = os.fork()
    if process:
        there.close()
        return _Worker(process, here)
    # In the child. Nothing of the parent may run here, whatever happens: not even its clean-up.
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
        _forget_connections()
        use_patience(replace(patience(), say=_said.append))
        here.close()
        for other in others:
            other.pipe.close()  # or it would not see that the parent has ended
        with contextlib.suppress(EOFError, OSError):
            while True:
                _answer(there, read, threads, take, there.recv())
    finally:
        os._exit(0)


_inherited: list[object] = []


def _forget_connections() -> None:
    """Let this process make its own connections to databases, to read the outbox. What it writes to
    an inherited one would end up between the queries of its parent."""
    # To close one, or to let it be collected, would end the parent's session on the server.
    _inherited.extend(connections.all(initialized_only=True))
    for alias in connections:
        with contextlib.suppress(AttributeError):
            del connections[alias]


def _answer(
    pipe: Connection,
    read: Read,
    threads: int,
    take: Callable[[], int],
    files: list[tuple[SourceFileInfo, str]],
) -> None:
    bytes_read = unexpected = 0
    results: list[tuple[int, Result, int]] = []
    sent = time.monotonic()
    lock = threading.Lock()

    def send(error: Exception | None = None, *, is_last: bool = False) -> None:
        nonlocal bytes_read, unexpected, results, sent
        with lock:
            said = [_said.pop(0) for _ in range(len(_said))]
            answer = _Answer(bytes_read, unexpected, take(), results, said, error, is_last)
            bytes_read, unexpected, results = 0, 0, []
            sent = time.monotonic()
            pipe.send(answer)

    def report(size: int, more: int) -> None:
        nonlocal bytes_read, unexpected
        with lock:
            bytes_read += size
            unexpected += more
        if time.monotonic() - sent > _ANSWER_SECONDS:
            send()

    ahead = Ahead()
    todo = [
        FileToRead(found, Progress(found.size, report), digest=digest, ahead=ahead)
        for found, digest in files
    ]
    positions = {id(file): position for position, file in enumerate(todo)}
    try:
        stored = are_stored(todo)
        for position, file in enumerate(todo):
            if stored[position]:
                results.append((position, UNCHANGED, file.progress.left))
        changed = [file for position, file in enumerate(todo) if not stored[position]]
        ahead.expect([(file.found, file.progress) for file in changed if not file.digest])
        for file, result in map_as_completed(min(threads, len(changed)), read, changed):
            if isinstance(result, OSError):
                # Others may need arguments that do not go over a pipe.
                result = OSError(result.strerror or str(result))
            with lock:
                results.append((positions[id(file)], result, file.progress.left))
            if time.monotonic() - sent > _ANSWER_SECONDS:
                send()
    except RegionFullError as error:
        send(error)
        return
    except Exception:
        send(RuntimeError(f"a process of the import failed:\n{traceback.format_exc()}"))
        return
    send(is_last=True)
