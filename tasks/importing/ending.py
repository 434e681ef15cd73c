"""The ends of a run that its operator or its surroundings cause, and the exit statuses."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PARTIAL = 3
"""The exit status of a run that came to its end and did not import everything."""
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndedError(KeyboardInterrupt):
    """The run has to end, as at Ctrl-C."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status
        """The exit status, as a shell gives it for the signal."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within this block SIGTERM and SIGHUP raise EndedError, unless they are ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {
        number: signal.signal(number, _end)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise EndedError(f"Ended by {signal.Signals(number).name}", 128 + number)


def read_no_more(stream: object) -> EndedError:
    """Return the error for output that nobody reads any more, as after ``| head``."""
    if stream is sys.__stdout__ and sys.__stdout__ is not None:
        # What Python itself still writes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
    return EndedError("Nobody reads the output", 128 + signal.SIGPIPE)
