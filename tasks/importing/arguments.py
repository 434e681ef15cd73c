"""The values of the command's options. Each function raises ArgumentTypeError for a text that is no
such value."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import fields

from tasks.files.content import path_of
from tasks.importing.sources import MAX_JOBS, is_site_path
from tasks.importing.texts import printable, size_in
from tasks.sources.archives.limits import Limits


def folder(value: str) -> str:
    """Return the path of a folder of the site."""
    folder = value.removesuffix("/")
    if not is_site_path(folder):
        raise ArgumentTypeError(
            f"{printable(repr(value))} is not a folder of the site; give one such as manuals/2024"
        )
    return path_of(folder)


def name(value: str) -> str:
    """Return the path of a file of the site."""
    if not is_site_path(value):
        raise ArgumentTypeError(
            f"{printable(repr(value))} is no name of a file; give one such as reports/latest.pdf"
        )
    return path_of(value)


def jobs(value: str) -> int:
    """Return a number of jobs."""
    jobs = int(value) if value.isdecimal() else 0
    if not 1 <= jobs <= MAX_JOBS:
        raise ArgumentTypeError(f"{value!r} is not a number from 1 to {MAX_JOBS}")
    return jobs


def files(value: str) -> int:
    """Return a number of files."""
    if not value.isdecimal() or len(value) > 9:
        raise ArgumentTypeError(f"{printable(repr(value))} is no number of files, such as 100")
    return int(value)


def retries(value: str) -> int:
    """Return a number of tries."""
    if not value.isdecimal() or len(value) > 4:
        raise ArgumentTypeError(f"{printable(repr(value))} is not a number from 0 to 9999")
    return int(value)


def archive_limit(value: str) -> tuple[str, int]:
    """Return the name of a limit of archives, and a number of names or bytes, or a ratio."""
    name, _, text = value.partition("=")
    limit = size_in(text)
    if not limit or name not in _LIMITS:
        raise ArgumentTypeError(
            f"{printable(repr(value))} is no limit; give one of {', '.join(_LIMITS)}, such as "
            "ratio=1000 or size=2T"
        )
    return name, limit


_LIMITS = [field.name for field in fields(Limits)]


def rate(value: str) -> int:
    """Return bytes a second."""
    rate = size_in(value)
    if not rate:
        raise ArgumentTypeError(
            f"{printable(repr(value))} is no number of bytes a second; give one such as 500K or 2M"
        )
    return rate
