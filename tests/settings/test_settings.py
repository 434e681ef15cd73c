"""The settings: what they may not name, what the environment decides, what production demands."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from settings.databases import database

ROOT = Path(__file__).parents[2]
PRODUCTION = {
    "SECRET_KEY": "k9" * 30 + "-Wxyz_#12",
    "ALLOWED_HOSTS": "tasks.example.org,www.tasks.example.org",
    "DATABASE_URL": "mysql://tasks:secret@db.example.org:3306/tasks",
}


def check(module: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Django's system checks in a process of its own, with nothing inherited."""
    kept = {name: os.environ[name] for name in ("PATH", "REGIONS_DATA_DIR")}
    return subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        cwd=ROOT,
        env=kept | {"DJANGO_SETTINGS_MODULE": module, **environ},
        capture_output=True,
        text=True,
    )


def test_the_word_cache_occurs_in_no_settings() -> None:
    modules = list((ROOT / "settings").glob("*.py"))
    assert len(modules) >= 5
    assert [path.name for path in modules if "cache" in path.read_text().lower()] == []


def test_django_caches_nothing() -> None:
    assert not hasattr(import_module("settings.test"), "CACHES")
    assert [name for name in settings.MIDDLEWARE if "cache" in name.lower()] == []
    assert "cache" not in settings.SESSION_ENGINE


def test_production_is_clean(tmp_path: Path) -> None:
    # From Django 6.0 on, the checks of models ask the database for its version.
    variables = {**PRODUCTION, "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}
    done = check("settings.production", "--deploy", "--fail-level", "DEBUG", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


@pytest.mark.parametrize("missing", PRODUCTION)
def test_a_variable_that_production_misses_is_named(missing: str) -> None:
    done = check("settings.production", **{**PRODUCTION, missing: ""})
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert missing in last
    assert not any(name in last for name in PRODUCTION if name != missing)


def test_debug_is_off_unless_asked_for() -> None:
    code = "from settings import development as d; print(d.DEBUG, d.ALLOWED_HOSTS)"
    for value, expected in [("", "False"), ("0", "False"), ("1", "True"), ("true", "True")]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "DEBUG": value},
            capture_output=True,
            text=True,
        )
        assert done.stdout.split()[0] == expected, done.stderr


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:///folder/db.sqlite3", "sqlite3", "folder/db.sqlite3"),
        ("sqlite:////folder/db.sqlite3", "sqlite3", "/folder/db.sqlite3"),
        ("mysql://u:p%40ss@host:3307/tasks", "mysql", "tasks"),
        ("postgres://u:p@host/tasks", "postgresql", "tasks"),
    ],
)
def test_database_urls(url: str, engine: str, name: str) -> None:
    found = database(url)
    assert found["ENGINE"] == f"django.db.backends.{engine}"
    assert str(found["NAME"]) == name
    assert "%" not in str(found.get("PASSWORD", ""))


@pytest.mark.parametrize("url", ["oracle://u:p@host/tasks", "no url at all", "redis://host"])
def test_a_database_url_that_will_not_do_is_refused_with_the_mend(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL.*mysql"):
        database(url)
