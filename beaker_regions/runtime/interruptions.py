"""Exceptions that a signal handler raises in the middle of other code, such as a job's time limit.
The code that set the handler expects them. They are not a failure of the interrupted code."""

from __future__ import annotations

import functools
import signal
from types import CodeType
from typing import Any


def is_interruption(error: BaseException) -> bool:
    """Whether a signal handler raised ``error``. Call it where many kinds of exceptions are handled
    as a failure."""
    handlers = _handlers()
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code in handlers:
            return True
        at = at.tb_next
    return False


def _handlers() -> set[CodeType]:
    """Return the code of every handler that this process has set."""
    return {
        code
        for number in signal.valid_signals()
        if (code := _code(signal.getsignal(number))) is not None
    }


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__
    code: CodeType | None = getattr(handler, "__code__", None)
    return code
