"""What a measurement leaves behind: a table on the terminal and a small JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
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


def arguments(description: str | None, **flags: str) -> argparse.Namespace:
    """Read the command line: ``quick``, ``output`` (a path or None), and ``flags`` with their
    help."""
    parser = argparse.ArgumentParser(description=description)
    for flag, help_ in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=help_)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--output", type=Path, help="the JSON file (default: bench/results)")
    return parser.parse_args()


def report(name: str, given: argparse.Namespace, settings: Row, rows: Sequence[Row]) -> None:
    """Print ``rows`` as a table and write them, with versions and ``settings``, as JSON."""
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in settings.items())}\n")
    print(table(rows))
    output = given.output or (None if given.quick else RESULTS / f"{name}.json")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        result = {"name": name, "versions": versions(), "settings": settings, "rows": rows}
        output.write_text(json.dumps(result, indent=1) + "\n")


def table(rows: Sequence[Row]) -> str:
    """Return rows of the same keys as a Markdown table."""
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
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
