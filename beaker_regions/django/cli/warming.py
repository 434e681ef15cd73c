"""``manage.py regions warm``: load calls before they are made, such as after a release."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError, _SubParsersAction
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import CommandError
from django.db import connections

from beaker_regions.api.warming import Warmed, Warming
from beaker_regions.django.cli import reports
from beaker_regions.django.cli.calls import Options, Output, function_of
from beaker_regions.errors import ConfigurationError

INTERVAL = 10.0
"""Seconds between two lines about the progress."""


def add_parser(commands: _SubParsersAction[Any]) -> None:
    """Add the subcommand to those of a parser."""
    parser = commands.add_parser("warm", help="load the calls in warm= that are not stored")
    parser.add_argument("function", metavar="FUNCTION", nargs="*", help="(all with warm=)")
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=4,
        help="threads that load, each with its own database connection (%(default)s)",
    )


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)


def warm(options: Options) -> Iterator[Output]:
    done = []
    for warming in _warmings(options):
        printed = time.monotonic()
        for _ in warming.run():
            if not options["json"] and time.monotonic() - printed >= INTERVAL:
                printed = time.monotonic()
                yield None, f"{_line(warming.done)} so far"
        done.append(warming.done)
        if not options["json"]:
            yield None, _line(warming.done)
            if warming.done.error is not None:
                yield None, f"  {warming.done.error}"
    if options["json"]:
        yield [asdict(each) for each in done], ""
    elif not done:
        yield None, "No function has warm="
    failed = sum(each.error is not None for each in done)
    if failed:
        raise CommandError(f"{failed} of {len(done)} functions could not be warmed; see above")


def _warmings(options: Options) -> list[Warming]:
    if options["function"]:
        functions = [_decorated(name) for name in options["function"]]
    else:
        known = [each.decorated for each in reports.functions()]
        functions = [each for each in known if each is not None and each.warm is not None]
    try:
        return [
            Warming(
                function,
                options["jobs"],
                # Thread-sensitive code, such as the ORM, then runs in the thread that closes the
                # connections.
                run_coroutine=lambda load: async_to_sync(load)(),
                close_connections=connections.close_all,
            )
            for function in dict.fromkeys(functions)
        ]
    except ConfigurationError as error:
        raise CommandError(str(error)) from error


def _decorated(name: str) -> Any:
    function = function_of({"function": name})
    if function.decorated is None:
        raise CommandError(f"{function.name} cannot be warmed: only requests call it")
    return function.decorated


def _line(done: Warmed) -> str:
    return (
        f"{done.function}: {done.calls:,} calls, {done.stored:,} stored already, "
        f"{done.loaded:,} loaded, {done.failed:,} failed, {done.seconds:.1f} s"
    )
