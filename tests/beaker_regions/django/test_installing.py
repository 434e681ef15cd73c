"""The messages to a project that has not installed everything."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.django.checks import REPEATED, check_middleware

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
import sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    DATABASES={databases},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", {apps}],
)
django.setup()
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import transaction
import beaker_regions
from beaker_regions import CacheManager, ConfigurationError, parse_cache_config_options
from beaker_regions.engine import invalidation

cache = CacheManager(**parse_cache_config_options(
    {{"cache.regions": "functions", "cache.functions.type": "file", "cache.secret": "x",
      "cache.functions.data_dir": {folder!r}}}
))

@cache.region("functions", tags=["t"])
def name(of):
    return str(of)

{program}
"""
SQLITE = '{"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


class Run:
    """Runs a program in a separate project. Returns its last line of output or error."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, program: str, apps: str = "", databases: str = SQLITE) -> str:
        return self.all(program, apps, databases).splitlines()[-1]

    def all(self, program: str, apps: str = "", databases: str = SQLITE) -> str:
        """Run a program, and return all lines."""
        text = PROJECT.format(
            databases=databases, apps=apps, folder=str(self._folder), program=program
        )
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize(
    "program",
    [
        "name(1)",
        "name.invalidate(1)",
        pytest.param("name.refresh(1)", marks=pytest.mark.slow),
        pytest.param("name(Group(pk=1))", marks=pytest.mark.slow),
    ],
)
def test_a_check_tells_a_project_without_the_application_to_install_it(
    run: Run, program: str
) -> None:
    said = run(program)
    assert 'add "beaker_regions.django" to INSTALLED_APPS' in said
    assert said.startswith("beaker_regions.errors.ConfigurationError")


def test_a_project_with_the_application_works(run: Run) -> None:
    program = "name(Group(pk=1)); name.invalidate(1); print(name(1))"
    assert run(program, '"beaker_regions.django"') == "1"


def test_a_process_that_only_has_django_works(run: Run) -> None:
    assert run("print(name(1))", databases="{}") == "1"
    said = "beaker_regions.set_transactions(beaker_regions.NoTransactions())\nprint(name(1))"
    assert run(said) == "1"


def test_the_outbox_works_wherever_it_stands(run: Run) -> None:
    program = "print(type(invalidation.transactions).__name__)"
    assert (
        run(program, '"beaker_regions.django.outbox", "beaker_regions.django"')
        == "OutboxTransactions"
    )
    assert '"beaker_regions.django" in INSTALLED_APPS' in run(
        program, '"beaker_regions.django.outbox"'
    )


def test_an_outbox_without_its_table_says_what_to_run(run: Run) -> None:
    apps = '"beaker_regions.django", "beaker_regions.django.outbox"'
    write = "with transaction.atomic():\n    cache.invalidate_tags('t')"
    assert "run manage.py migrate" in run.all(write, apps)
    assert "run manage.py migrate" in run.all("name(1)", apps)
    migrated = "call_command('migrate', verbosity=0)\n"
    assert run.all(f"{migrated}{write}\nprint(name(1))", apps).startswith("1")


def test_a_check_says_that_requests_in_transactions_store_nothing(run: Run) -> None:
    databases = SQLITE.replace('":memory:"', '":memory:", "ATOMIC_REQUESTS": True')
    assert "ATOMIC_REQUESTS" in databases
    program = "call_command('check', fail_level='WARNING')"
    quiet = "settings.SILENCED_SYSTEM_CHECKS = ['regions.W001']\n"
    assert "regions.W002" in run.all(quiet + program, '"beaker_regions.django"', databases)
    assert "W002" not in run.all(quiet + program, '"beaker_regions.django"')


def test_use_manager_needs_the_application(run: Run) -> None:
    named = "from beaker_regions.django import use_manager; use_manager(cache); print('named')"
    assert 'needs "beaker_regions.django" in INSTALLED_APPS' in run(named)
    assert run(named, '"beaker_regions.django"') == "named"


def test_metrics_without_their_package_say_what_to_install(run: Run) -> None:
    said = run(
        "sys.modules['prometheus_client'] = None\nimport beaker_regions.django.staff.scraping",
        '"beaker_regions.django"',
    )
    assert said.endswith("pip install prometheus_client")


def test_a_check_says_that_middleware_stands_too_low(settings: Any) -> None:
    sessions = "django.contrib.sessions.middleware.SessionMiddleware"
    settings.MIDDLEWARE = [REPEATED, sessions]
    assert not check_middleware()
    settings.MIDDLEWARE = [sessions, REPEATED]
    assert [each.id for each in check_middleware()] == ["regions.W003"]


def test_another_cache_of_queries_is_warned_of(run: Run, tmp_path: Path) -> None:
    """It answers queries, so that the functions that depend on their queries do not see them."""
    (tmp_path / "cachalot.py").touch()
    program = f"""
sys.path.append({str(tmp_path)!r})
from django.apps import apps
apps.set_installed_apps([*settings.INSTALLED_APPS, "cachalot"])
from django.core.checks import run_checks
print([each.id for each in run_checks() if each.id == "regions.W004"])
cache.region("functions", "rows", depends_on="queries")(len)
print([each.msg for each in run_checks() if each.id == "regions.W004"])
"""
    without, found = run.all(program, '"beaker_regions.django"').splitlines()[-2:]
    assert without == "[]"
    assert 'depends_on="queries", which does not see a query that cachalot answers' in found
