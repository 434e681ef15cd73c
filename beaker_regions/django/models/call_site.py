"""The line of the application that asked for something, for a report."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import asgiref
import django

import beaker_regions

_OTHERS = tuple(
    f"{os.path.dirname(os.path.abspath(file))}{os.sep}"
    for file in (beaker_regions.__file__, django.__file__, asgiref.__file__)
)
_INSTALLED = (f"{sysconfig.get_path('stdlib')}{os.sep}", "<")
_IN_THREAD = "thread_handler"
"""The function of asgiref that calls a coroutine's synchronous code, in a thread."""


def application_line(task: asyncio.Task[Any] | None) -> str:
    """Return the innermost line of the application, as file, line and function; empty if there is
    none. ``task``: the task that waits for this code, if this is another thread."""
    installed = ""
    for frame in _frames(task):
        file = frame.f_code.co_filename
        if file.startswith(_OTHERS) or file.startswith(_INSTALLED):
            continue
        line = f"{_short(file)}:{frame.f_lineno} in {frame.f_code.co_name}"
        if "site-packages" not in file:
            return line
        installed = installed or line
    return installed


def current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # this thread runs no event loop


def _frames(task: asyncio.Task[Any] | None) -> Iterator[FrameType]:
    """Yield the frames of this thread, the innermost first; below asgiref's, those of the task."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if task is not None and frame.f_code.co_name == _IN_THREAD:
            yield from reversed(list(_awaited(task)))
            return
        yield frame
        frame = frame.f_back


def _awaited(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """Yield the frames of a task that is suspended, the outermost first."""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        for kind in ("cr", "ag", "gi"):
            if (frame := getattr(coroutine, f"{kind}_frame", None)) is not None:
                yield frame
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            return


def _short(file: str) -> str:
    """Return a path from the current folder, if the file is below it."""
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
