"""The check in the tests of an application: the option and the mark of the pytest plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

FILES = {
    "pytest.ini": """
[pytest]
regions_dependencies = warn
DJANGO_SETTINGS_MODULE = site_settings
python_files = tests.py
""",
    "site_settings.py": """
SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
    "beaker_regions.django", "beaker_regions.django.outbox", "names",
]
SESSION_ENGINE = "beaker_regions.django.sessions"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
""",
    "beakercache.py": """
from pathlib import Path
from beaker_regions import CacheManager, parse_cache_config_options
cache = CacheManager(**parse_cache_config_options({
    "cache.regions": "functions",
    "cache.functions.type": "file",
    "cache.functions.data_dir": Path(__file__).parent / "development",
    "cache.functions.secret": "s" * 40,
}))
""",
    "names/__init__.py": "",
    "names/apps.py": """
from django.apps import AppConfig

class NamesConfig(AppConfig):
    name = "names"
    def ready(self):
        from django.contrib.auth.models import User
        from beaker_regions.django import declare_row_tags, use_manager
        from beakercache import cache
        use_manager(cache)
        declare_row_tags(User, "user:{pk}")
""",
    "names/queries.py": """
from beakercache import cache
from django.contrib.auth.models import Group, User

@cache.region("functions")
def names():
    return list(User.objects.values_list("username", flat=True))

@cache.region("functions", tags=["auth.User"])
def tagged():
    return list(User.objects.values_list("username", flat=True))

@cache.region("functions")
def groups():
    return Group.objects.count()

@cache.region("functions", expire=60, depends_on="expiry")
def old():
    return Group.objects.count()
""",
    "tests.py": """
import pytest
from django.test import TestCase
from names.queries import groups, names, old, tagged

@pytest.mark.django_db
def test_missing():
    names()

@pytest.mark.django_db
def test_missing_again():
    names()

@pytest.mark.django_db
def test_unwatched():
    groups()

@pytest.mark.django_db
def test_tagged():
    tagged(), old()

@pytest.mark.django_db
@pytest.mark.regions_dependencies("warn")
def test_warned():
    names()

@pytest.mark.django_db
@pytest.mark.regions_dependencies("off")
def test_off():
    names()

@pytest.fixture
def loaded(db):
    names()

def test_in_a_fixture(loaded):
    pass

@pytest.mark.django_db
def test_failed():
    names()
    assert False, "of its own"

@pytest.mark.django_db
def test_sessions():
    from django.contrib.sessions.backends.base import CreateError
    from beaker_regions.django.sessions import SessionStore
    session = SessionStore()
    session["a"] = 1
    session.save()
    assert SessionStore(session.session_key)["a"] == 1

class Cases(TestCase):
    def test_missing_in_a_case(self):
        names()

    def test_tagged_in_a_case(self):
        tagged()
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project: Path, *options: str) -> tuple[int, str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "DJANGO"))}
    environ |= {"PYTHONPATH": f"{project}:{ROOT}"}
    # Loaded by its entry point, unless the package was installed before it had one.
    plugin = (
        ()
        if entry_points(group="pytest11", name="regions")
        else ("-p", "beaker_regions.pytest_plugin")
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:xdist", *plugin, *options],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_missing_dependency_fails_its_test(project: Path) -> None:
    code, output = run(project, "--regions-dependencies=error", "--no-migrations")
    assert code == 1
    found = re.findall(r"^(PASSED|FAILED|ERROR) tests\.py::(\S+)", output, re.M)
    outcomes = {name: outcome for outcome, name in found}
    failed = {name for name, outcome in outcomes.items() if outcome != "PASSED"}
    assert failed == {
        "test_missing",
        "test_missing_again",
        "test_unwatched",
        "test_in_a_fixture",
        "test_failed",
        "Cases::test_missing_in_a_case",
    }, output
    assert len(outcomes) == 11
    assert (
        "names.queries.names reads auth_user, a missing dependency (names/queries.py:7 in names): "
        'add the tag "user:{id}" or "auth.User", or depends_on="expiry" if it may be old' in output
    )
    assert "names.queries.groups reads auth_group, an unwatched table" in output
    assert "of its own" in output
    (warned,) = re.findall(r"DependencyWarning: .*", output)
    assert "names.queries.names" in warned
    assert not (project / "development").exists()


def test_a_mistyped_option_is_refused(project: Path) -> None:
    ini = FILES["pytest.ini"].replace("= warn", "= on")
    (project / "pytest.ini").write_text(ini)
    code, output = run(project, "--collect-only")
    assert code == 4
    assert "regions_dependencies = on: write off, warn, error" in output
