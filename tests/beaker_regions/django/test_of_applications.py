"""The tests of an application: a separate project, whose tests are run by pytest and by Django."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLUGIN = "beaker_regions.pytest_plugin"

FILES = {
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
execute_from_command_line(sys.argv)
""",
    "site_settings.py": """
from pathlib import Path
SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "beaker_regions.django",
    "beaker_regions.django.outbox",
]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3"}}
""",
    "beakercache.py": """
from pathlib import Path
from beaker_regions import CacheManager, parse_cache_config_options
cache = CacheManager(**parse_cache_config_options({
    "cache.regions": "functions, shared",
    "cache.data_dir": Path(__file__).parent / "development",
    "cache.secret": "s" * 40,
    "cache.functions.type": "file",
    "cache.shared.type": "ext:memcached",
    "cache.shared.url": "127.0.0.1:9",
}))
""",
    "names.py": """
from beakercache import cache
from django.contrib.auth.models import User

@cache.region("functions", tags=["users"])
def names():
    return sorted(User.objects.values_list("username", flat=True))

@cache.region("shared")
def double(number):
    return 2 * number

settings = cache.values("functions", "settings")
visits = cache.counter("shared", "visits")

def add(name):
    User.objects.create(username=name)
    cache.invalidate_tags("users")
""",
    "tests.py": """
import time
import beakercache
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from names import add, cache, double, names, settings, visits
from beaker_regions.testing import assert_hits, assert_loads, bypassed


class Leaks:
    def test_one(self):
        self.check()

    def test_two(self):
        self.check()

    def check(self):
        self.assertIsNone(settings.get("theme"))
        settings.set("theme", "dark")
        self.assertEqual(settings.get("theme"), "dark")
        self.assertEqual(visits.add(), 1)
        with assert_loads(1), assert_hits(1):
            self.assertEqual([double(2), double(2)], [4, 4])
        User.objects.create(username="ann")
        self.assertEqual(names(), ["ann"])


class LeaksInTestCase(Leaks, TestCase):
    pass


class LeaksInTransactionTestCase(Leaks, TransactionTestCase):
    pass


class TestCases(TestCase):
    @classmethod
    def setUpTestData(cls):
        User.objects.create(username="ann")

    def test_cached_as_usual(self):
        with assert_loads(1), assert_hits(1):
            self.assertEqual(names(), ["ann"])
            self.assertEqual(names(), ["ann"])

    def test_invalidated_at_once(self):
        names()
        add("bob")
        self.assertEqual(names(), ["ann", "bob"])

    def test_invalidated_when_the_applications_block_ends(self):
        names()
        with transaction.atomic():
            with transaction.atomic():
                add("bob")
            with assert_hits(0):
                self.assertEqual(names(), ["ann", "bob"])
        with assert_loads(1):
            self.assertEqual(names(), ["ann", "bob"])
        with assert_hits(1):
            self.assertEqual(names(), ["ann", "bob"])

    def test_rolled_back_work_is_neither_stored_nor_invalidated(self):
        names()
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            add("bob")
            names()
            1 / 0
        with assert_hits(1):
            self.assertEqual(names(), ["ann"])

    def test_uncommitted_is_not_stored(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            User.objects.create(username="bob")
            names()
            1 / 0
        self.assertEqual(names(), ["ann"])

    def test_hooks_of_the_application_are_captured(self):
        called = []
        names()
        with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
            add("bob")
            transaction.on_commit(lambda: called.append(names()))
        self.assertEqual(called, [["ann", "bob"]])
        self.assertEqual(names(), ["ann", "bob"])

    def test_looks_at_the_outbox_are_not_counted(self):
        from beaker_regions.engine import invalidation
        invalidation.transactions._poller._valid_until = 0.0
        with self.assertNumQueries(0):
            self.assertTrue(invalidation.transactions.is_caught_up())
        with self.assertNumQueries(1):
            names()
            names()

    async def test_a_coroutine(self):
        await self.coroutine()

    async def test_another_coroutine(self):
        await self.coroutine()

    async def coroutine(self):
        self.assertEqual(await sync_to_async(names)(), ["ann"])
        await sync_to_async(add)("bob")
        self.assertEqual(await sync_to_async(names)(), ["ann", "bob"])

    def test_bypassed(self):
        with bypassed(), assert_hits(0):
            double(3)
            double(3)

    def test_an_unexpected_load_fails_and_is_named(self):
        expected = "1 loads where 0 were expected .names.double: 1"
        with self.assertRaisesRegex(AssertionError, expected):
            with assert_loads(0):
                double(3)
""",
    "test_marks.py": """
import subprocess, sys
import pytest
from names import double
from beaker_regions import CacheManager, parse_cache_config_options
from beaker_regions.testing import assert_hits, assert_loads


@pytest.mark.regions_bypassed
def test_bypassed():
    with assert_hits(0):
        double(2), double(2)


def test_a_process_that_a_test_starts_shares_its_regions():
    double(2)
    program = (
        "import django; django.setup(); from names import double; "
        "from beaker_regions.testing import assert_hits\\n"
        "with assert_hits(1): double(2)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.regions_as_configured
def test_own_manager(tmp_path):
    cache = CacheManager(**parse_cache_config_options({
        "cache.regions": "a", "cache.type": "file", "cache.data_dir": tmp_path, "cache.secret": "x"
    }))
    assert cache["a"].options.data_dir == tmp_path
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project: Path, *command: str) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "DJANGO"))}
    environ |= {"PYTHONPATH": f"{project}:{ROOT}", "DJANGO_SETTINGS_MODULE": "site_settings"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (project / "development").exists(), "development's folder was touched"
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "processes",
    [pytest.param((), id="one", marks=pytest.mark.slow), pytest.param(("-n", "2"), id="two")],
)
def test_by_pytest(project: Path, processes: tuple[str, ...]) -> None:
    # Loaded by its entry point, unless the package was installed before it had one.
    plugin = () if entry_points(group="pytest11", name="regions") else ("-p", PLUGIN)
    run(project, "-m", "pytest", "-q", *plugin, *processes, "tests.py", "test_marks.py")


@pytest.mark.parametrize(
    "processes",
    [
        pytest.param((), id="one"),
        pytest.param(("--parallel", "2"), id="two", marks=pytest.mark.slow),
    ],
)
def test_by_django(project: Path, processes: tuple[str, ...]) -> None:
    assert "OK" in run(project, "manage.py", "test", *processes, "tests")
