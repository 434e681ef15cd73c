"""What a measurement leaves behind: a table on the terminal and a small JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "Beaker",
    "python-memcached",
    "pylibmc",
    "pymemcache",
    "dogpile.cache",
    "Flask-Caching",
    "Django",
    "diskcache",
    "django-cachalot",
    "django-cacheops",
    "aiocache",
    "aiomcache",
    "redis",
    "hiredis",
    "django-redis",
    "cashews",
)
Row = dict[str, Any]


def arguments(
    description: str | None, cases: Sequence[str] = (), **flags: str
) -> argparse.Namespace:
    """Read the command line: ``quick``, ``output`` (a path or None), ``cases`` if there are such,
    and ``flags`` with their help."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    if cases:
        among = f"some of: {', '.join(cases)} (default: all)"
        parser.add_argument("cases", metavar="CASE", nargs="*", help=among)
    for flag, help_ in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=help_)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="of the JSON files (default: bench/results)"
    )
    given = parser.parse_args()
    if cases and (unknown := set(given.cases) - set(cases)):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; {among}")
    return given


def report(name: str, given: argparse.Namespace, settings: Row, rows: Sequence[Row]) -> None:
    """Print ``rows`` as a table and `write` them."""
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in settings.items())}\n")
    print(f"{table(rows)}\n", flush=True)
    write(name, given, settings, rows)


def write(name: str, given: argparse.Namespace, settings: Row, rows: Sequence[Row]) -> None:
    """Write ``rows`` as JSON, with the date, the versions and ``settings``."""
    folder = given.output or (None if given.quick else RESULTS)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        result = {
            "name": name,
            "date": datetime.now(UTC).date().isoformat(),
            "versions": versions(),
            "settings": settings,
            "rows": rows,
        }
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_shown(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(map(str.ljust, line, widths)) + " |"
        for line in [cells[0], ["-" * width for width in widths], *cells[1:]]
    ]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, list):
        return " to ".join(map(_shown, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def spread(samples: Sequence[float]) -> list[float]:
    """Return the first and last tenth of the samples: where four in five of them lie."""
    if len(samples) < 3:
        return [round(min(samples), 4), round(max(samples), 4)]
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    return [round(tenths[0], 4), round(tenths[-1], 4)]


def versions() -> dict[str, Any]:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    memcached = subprocess.run(
        ["memcached", "-V"], capture_output=True, text=True, check=True, env={"PATH": path}
    )
    return {
        "python": platform.python_version(),
        "memcached": memcached.stdout.split()[-1],
        "cores": len(os.sched_getaffinity(0)),
        **{package: version(package) for package in PACKAGES},
    }
