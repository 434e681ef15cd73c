"""The subcommands of ``manage.py regions`` that show counts, health, and the effect of expiries.

Each yields its output as data and as text.
"""

from __future__ import annotations

import inspect
import json
import math
from argparse import _SubParsersAction
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import DatabaseError

from beaker_regions.django.cli import reports, terminal
from beaker_regions.django.cli.calls import Options, Output, function_of, get, invalidate
from beaker_regions.engine.region import all_regions
from beaker_regions.errors import nearest
from beaker_regions.reports import health
from beaker_regions.telemetry.expiry_advice import ExpiryAdvice
from beaker_regions.telemetry.miss_reasons import REASONS
from beaker_regions.telemetry.units import duration, percent, size, took


def add_parsers(commands: _SubParsersAction[Any]) -> None:
    """Add the subcommands to those of a parser."""
    show = commands.add_parser("show", help="show a function's signature, options and counts")
    tune = commands.add_parser("tune", help="show the effect of other expiries, from sampled calls")
    get = commands.add_parser("get", help="show the stored value of a call; nothing is loaded")
    invalidate = commands.add_parser(
        "invalidate", help="invalidate a call, all calls of a function, or tags"
    )
    check = commands.add_parser("check", help="check servers, folders and options")
    check.add_argument("region", metavar="REGION", nargs="?")
    show.add_argument("function", metavar="FUNCTION")
    tune.add_argument("function", metavar="FUNCTION", nargs="?")
    tune.add_argument(
        "--hours", type=float, default=24, help="use the last hours (at most 168; %(default)s)"
    )
    for parser in (get, invalidate):
        nargs = "?" if parser is invalidate else None
        parser.add_argument("function", metavar="FUNCTION", nargs=nargs)
        parser.add_argument(
            "arguments",
            metavar="ARG",
            nargs="*",
            help="Python literals (7, \"'a text'\", None, name=7); a parameter that is annotated "
            "as str takes any text, one that is annotated as an Enum its values",
        )
    invalidate.add_argument("--all", action="store_true", help="every call of the function")
    invalidate.add_argument(
        "--tag", action="append", help="instead of a function: all entries with this tag"
    )


# -- activity ---------------------------------------------------------------------------------

_COLUMNS: dict[str, Callable[[Any], str]] = {
    "function": str,
    "region": str,
    "expire": duration,
    "calls": "{:,}".format,
    "hit_ratio": percent,
    "loads": "{:,}".format,
    "load_average": took,
    "seconds_saved": "{:,.1f}".format,
}


_FORMS: dict[str, Callable[[Any], str]] = _COLUMNS | {
    "grace": duration,
    "load_seconds": "{:,.1f}".format,
    "bytes_in": size,
    "bytes_out": size,
    "failures": lambda kinds: _listed(kinds),
    "missed": lambda reasons: _listed({REASONS[name]: times for name, times in reasons.items()}),
}


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())


_NONE = f"No cached function was found. {reports.NOT_IMPORTED}"


def functions() -> Output:
    """Return all functions with their counts."""
    found = reports.activity()
    rows = [_with_expiry(each) for each in found]
    return found, terminal.table(rows, _COLUMNS) if rows else _NONE


def show(options: Options) -> Iterator[Output]:
    function = function_of(options)
    found = reports.activity_of(function)
    signature = "" if function.decorated is None else inspect.signature(function.decorated)
    shown = {
        key.replace("_", " "): _FORMS.get(key, "{:,}".format)(value)
        for key, value in _with_expiry(found).items()
        if key != "function" and value not in (None, {})
    }
    width = max(map(len, shown)) + 2
    lines = [f"{key:<{width}}{value}" for key, value in shown.items()]
    yield found, "\n".join([f"{function.name}{signature}", "", *lines])


def _with_expiry(report: reports.Report) -> reports.Report:
    """Make the expiry "never" infinity. In JSON it is None, as an unknown expiry is."""
    is_known = report["grace"] is not None
    return report | {"expire": math.inf} if is_known and report["expire"] is None else report


def tune(options: Options) -> Iterator[Output]:
    reports.bring_up_to_date()
    if options["function"] is not None:
        function = function_of(options)
        advice = reports.advice_for(function, options["hours"])
        if advice is None:
            raise CommandError(f"Region {function.region.name} has no samples: give it a data_dir")
        text = f"{function.name}: {advice.reason}"
        if advice.points:
            text += f"\n{_basis(advice)}\n\n{terminal.chart(advice)}"
        yield reports.advice_report(function, advice), text
        return
    rows = []
    for function in reports.functions():
        advice = reports.advice_for(function, options["hours"])
        if advice is not None:
            # The text shows the expiry "never"; in JSON it is None.
            rows.append(reports.advice_report(function, advice) | {"today": advice.today})
    columns: dict[str, Callable[[Any], str]] = {
        "function": str,
        "today": duration,
        "hit_ratio": percent,
        "calls": "{:,.0f}".format,
        "suggested": duration,
        "reason": str,
    }
    yield rows, terminal.table(rows, columns) if rows else "No function is sampled."


def _basis(advice: ExpiryAdvice) -> str:
    return (
        f"{advice.calls:,.0f} calls in {duration(advice.hours * 3600)}, "
        f"a load takes {took(advice.load_seconds)}; "
        f"today's expiry is {duration(advice.today)}"
    )


def check(options: Options) -> Iterator[Output]:
    name = options["region"]
    wanted = [region for region in all_regions() if name in (None, region.name)]
    if name is not None and not wanted:
        names = {region.name for region in all_regions()}
        raise CommandError(f"There is no region {name!r}; {nearest(name, names)}")
    found = [finding for findings in health.check(wanted).values() for finding in findings]
    if name is None:
        found += outbox()
    yield [each._asdict() for each in found], "\n".join(map(as_line, found))
    if any(each.level == "error" for each in found):
        raise CommandError("Something is wrong; see above")


def as_line(finding: health.Finding) -> str:
    return f"{finding.level:<8} {finding.region}: {finding.subject}: {finding.message}"


def outbox() -> list[health.Finding]:
    """Check whether the outbox's table can be read, if the outbox is installed."""
    if not apps.is_installed("beaker_regions.django.outbox"):
        return []
    from beaker_regions.django.outbox.applying import alias, explained, unclaimed

    where = f"table in database {alias()!r}"
    try:
        waiting = unclaimed().count()
    except DatabaseError as error:
        return [health.Finding("outbox", where, "error", str(explained(error)))]
    level = "warning" if waiting else "ok"
    return [health.Finding("outbox", where, level, f"{waiting} invalidations are pending")]


COMMANDS: dict[str, Callable[[Options], Iterator[Output]]] = {
    "show": show,
    "tune": tune,
    "get": get,
    "invalidate": invalidate,
    "check": check,
}


def as_json(report: Any) -> str:
    """Return a report as JSON. Infinity, which JSON does not have, is null."""
    return json.dumps(_finite(report), indent=1, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
