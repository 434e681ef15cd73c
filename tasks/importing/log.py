"""The log file of a run: what it says, and the warnings of the program, with their times."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class BadLogError(Exception):
    """A log file that cannot be written to."""


@contextlib.contextmanager
def logging_to(name: str | None) -> Iterator[Callable[[str], None]]:
    """Within this block, add warnings to the end of a file, as well as the lines that are given to
    the result. None: there is no log. Raises BadLogError."""
    if name is None:
        yield lambda _: None
        return
    try:
        handler = logging.FileHandler(name, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BadLogError(f"{name!r} cannot be written to: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))

    def log(line: str) -> None:
        handler.handle(logging.makeLogRecord({"msg": line}))

    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        handler.close()
