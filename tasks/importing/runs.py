"""The record of each run of the import, in the database: its numbers, and how it ended."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from tasks.importing.index import patiently
from tasks.models import ImportRun

if TYPE_CHECKING:
    from tasks.importing.progress import Summary

KEPT = 1000
"""Records; those of older runs are removed."""
EVERY = 5.0
"""Seconds between two writes of the numbers."""
_SILENCE = 60 * 60
"""Seconds without a write after which a run on another host counts as killed. One large file may
take long."""

UNDER_WAY = "under way"
KILLED = "killed"
_ENDS = {0: "whole", 1: "ended early", 3: "partial"}


class Recorder:
    """Writes the record of this run. When it begins, it waits for a database that is away, and
    raises DatabaseError; afterwards a record that cannot be written is no reason to end a run."""

    def __init__(self, source: str, into: str) -> None:
        self._run = patiently(partial(_begun, source, into))
        self._written = time.monotonic()

    def progress(self, summary: Summary) -> None:
        """Write the numbers so far, a few times a minute."""
        if time.monotonic() - self._written >= EVERY:
            self._written = time.monotonic()
            self._write(summary)

    def end(self, summary: Summary, status: int, error: str) -> bool:
        """Write how the run ended: its exit status, and the error or "". Returns whether it could
        be written."""
        self._run.status, self._run.error, self._run.ended_at = status, error, timezone.now()
        return self._write(summary)

    def _write(self, summary: Summary) -> bool:
        run = self._run
        run.seen_at = timezone.now()
        run.new, run.changed = summary.imported - summary.changed, summary.changed
        run.unchanged, run.skipped, run.failed = summary.unchanged, summary.skipped, summary.failed
        run.forgotten, run.size = summary.forgotten, summary.size
        for _ in range(2):  # the second time on a new connection
            try:
                run.save()
                return True
            except (DatabaseError, InterfaceError):
                connection.close_if_unusable_or_obsolete()
        return False


def _begun(source: str, into: str) -> ImportRun:
    """Add the record of this run, and remove those that are too old."""
    now = timezone.now()
    run = ImportRun.objects.create(
        source=source,
        into=into,
        started_at=now,
        seen_at=now,
        host=_host(),
        process=_process(os.getpid()),
    )
    oldest = ImportRun.objects.values_list("pk", flat=True)[KEPT : KEPT + 1]
    ImportRun.objects.filter(pk__lte=next(iter(oldest), 0)).delete()
    return run


def latest(number: int) -> list[ImportRun]:
    """Return the last runs, the last one first."""
    return list(ImportRun.objects.all()[:number])


def end_of(run: ImportRun) -> str:
    """Return in words how a run ended, or that it is under way or was killed."""
    if run.status is not None:
        return _ENDS.get(run.status) or f"interrupted ({run.status})"
    if run.host == _host():
        is_alive = run.process == _process(int(run.process.rpartition(":")[2]))
    else:
        is_alive = (timezone.now() - run.seen_at).total_seconds() < _SILENCE
    return UNDER_WAY if is_alive else KILLED


def seconds_of(run: ImportRun) -> float:
    """Return how long a run took; if it has not ended, how long it was seen to take."""
    return ((run.ended_at or run.seen_at) - run.started_at).total_seconds()


def _host() -> str:
    return socket.gethostname()[:255]


def _process(number: int) -> str:
    """Return what no other process of this host has, even after the host was started again: the
    boot, the moment at which the process began, and its number. Without the middle part, it does
    not live."""
    began = ""
    with contextlib.suppress(OSError), open(f"/proc/{number}/stat", "rb") as file:
        # The name of the program is in brackets, and may hold anything.
        fields = file.read().rpartition(b")")[2].split()
        if fields[0] != b"Z":
            began = fields[19].decode()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{file.read(8)}:{began}:{number}"
