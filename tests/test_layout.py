"""The architecture: which part may import which."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "beakercache.py": {"beaker_regions"},
    "beaker_regions": {
        "beaker_regions",
        "beaker",
        "memcache",
        "redis",
        "prometheus_client",
        "opentelemetry",
    },
    "beaker_regions/pytest_plugin.py": {"beaker_regions", "pytest"},
    # Django is made of asgiref; its debug toolbar asks for its panel itself.
    "beaker_regions/django": {"beaker_regions", "django", "asgiref", "debug_toolbar"},
    # Zstandard is in "compression" from Python 3.14 on, and in "backports" before.
    "tasks": {
        "tasks",
        "beakercache",
        "beaker_regions",
        "django",
        "tqdm",
        "pycurl",
        "isal",
        "whitenoise",
        "_typeshed",
        "fsspec",
        "paramiko",
        "backports",
        "compression",
    },
    "project": {"tasks", "beaker_regions", "django", "debug_toolbar", "gunicorn"},
    "examples/flask": {
        "caching",
        "storage",
        "beaker_regions",
        "beaker",
        "flask",
        "markupsafe",
        "werkzeug",
    },
    "examples/asyncio": {"beaker_regions"},
    # Only to read the secret that the regions share.
    "settings": {"settings", "beaker_regions", "django", "dj_database_url"},
}


def modules(part: str) -> list[Path]:
    """Return the modules of a part, without those of a part that lies within it."""
    place = ROOT / part
    if place.is_file():
        return [place]
    within = [ROOT / other for other in ALLOWED if other.startswith(f"{part}/")]
    return [
        path
        for path in place.rglob("*.py")
        if not any(path.is_relative_to(folder) for folder in within)
    ]


def imported(path: Path) -> set[str]:
    """Return the packages a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} imports relatively"
            found.add((node.module or "").partition(".")[0])
    return found - sys.stdlib_module_names


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_flow_one_way(part: str) -> None:
    paths = modules(part)
    assert paths, f"{part} is gone"
    for path in paths:
        strangers = imported(path) - ALLOWED[part]
        assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"
