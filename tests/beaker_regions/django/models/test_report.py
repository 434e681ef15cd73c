"""The report of forgotten dependencies, and the command that shows it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from beaker_regions import ConfigurationError, DependencyError
from beaker_regions.django.models import reads, report
from beaker_regions.django.models.report import Report, folder_of, switch_on_by_environment
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.models.models import Book, Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    reads.switch_off()


@pytest.fixture
def cache(shelf: str, tmp_path: Path) -> CacheManager:
    return make_manager(shelf, type="file", data_dir=tmp_path, secret="s")


@pytest.fixture
def regions(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command, on this test's regions alone."""
    from beaker_regions.django.cli import dependencies

    made = [cache[name] for name in cache.options]
    monkeypatch.setattr(dependencies, "all_regions", lambda: made)

    def run(*arguments: str) -> str:
        out = io.StringIO()
        call_command("regions", "dependencies", *arguments, stdout=out)
        return out.getvalue()

    return run


def switch_on(mode: str) -> None:
    switch_on_by_environment({"REGIONS_DEPENDENCIES": mode})


def made(cache: CacheManager, shelf: str, **options: Any) -> Any:
    @cache.region(shelf, "books", **options)
    def books(number: int) -> int:
        return Book.objects.count() + Owner.objects.count()

    return books


def test_the_findings_are_listed(
    cache: CacheManager, shelf: str, regions: Callable[..., str]
) -> None:
    books = made(cache, shelf)
    assert "REGIONS_DEPENDENCIES=record" in regions()
    switch_on("record")
    books(1)
    books(2)
    lines = regions().splitlines()
    assert lines[0] == books.name
    assert sum(books.name in line for line in lines) == 1
    assert lines[1].split()[:2] == ["missing", "watched_book,"]
    assert "test_report.py:" in lines[1]
    assert "in books" in lines[1]
    assert 'add the tag "owner books:{shelf__owner_id}"' in lines[2]
    assert lines[3].split()[:2] == ["unwatched", "watched_owner,"]
    assert lines[5] == "Functions, pages and fragments that were checked: 1"
    found = json.loads(regions("--json"))
    assert [each["table"] for each in found["findings"]] == ["watched_book", "watched_owner"]
    assert found["checked"] == [books.name]
    assert regions("--clear") == "The report is empty\n"
    assert "Nothing is recorded" in regions()


def test_a_finding_of_an_earlier_process_disappears_when_it_is_mended(
    cache: CacheManager, shelf: str, regions: Callable[..., str]
) -> None:
    switch_on("record")
    made(cache, shelf)(1)
    made(cache, shelf, tags=["watched.Book"], version=2)(1)
    assert "watched_book" in regions()  # the same process: its calls differ
    switch_on("record")
    made(cache, shelf, tags=["watched.Book"], version=3)(1)
    assert "watched_book" not in regions()
    assert "watched_owner" in regions()


def test_nothing_is_missing(cache: CacheManager, shelf: str, regions: Callable[..., str]) -> None:
    @cache.region(shelf, "seen", tags=["watched.Book"])
    def seen() -> int:
        return Book.objects.count()

    @cache.region(shelf, "unseen")
    def unseen() -> None: ...

    switch_on("record")
    seen()
    assert "Nothing is missing" in regions()
    assert f"Never loaded while the check was on: {unseen.name}" in regions()


def test_warn_logs_each_finding_once(
    cache: CacheManager, shelf: str, caplog: pytest.LogCaptureFixture
) -> None:
    books = made(cache, shelf)
    switch_on("warn")
    with caplog.at_level(logging.WARNING, "beaker_regions.django"):
        books(1)
        books(2)
    assert len(caplog.messages) == 2
    assert f"{books.name} reads watched_book, a missing dependency (" in caplog.messages[0]


def test_error_raises_each_time(cache: CacheManager, shelf: str) -> None:
    books = made(cache, shelf)
    switch_on("error")
    for _ in range(2):
        with pytest.raises(DependencyError, match="reads watched_book, a missing dependency"):
            books(1)
    reads.switch_off()
    assert books(1) == 0


def test_a_mistyped_variable_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="REGIONS_DEPENDENCIES=eror: did you mean 'error'"):
        switch_on("eror")
    switch_on("off")
    switch_on("")
    assert reads._check is None


def test_a_region_without_a_folder_has_no_report(shelf: str, memcached: Any) -> None:
    cache = make_manager(shelf, type="ext:memcached", url=memcached.address, secret="s")
    books = made(cache, shelf)
    switch_on("record")
    assert books(1) == 0
    assert folder_of(cache[shelf]) is None


def test_a_report_is_bounded_and_survives_damage(
    cache: CacheManager, shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST", 2)
    switch_on("record")
    for number in range(3):

        @cache.region(shelf, f"number {number}")
        def count() -> int:
            return Book.objects.count()

        count()
    folder = folder_of(cache[shelf])
    assert folder is not None
    found = Report.read(folder)
    assert [function.rpartition(" ")[2] for _, function, _ in found.findings] == ["1", "2"]
    assert len(found.loaded) == 2
    for damage in (b"", b"[]", b'{"findings": [[1]], "loaded": {}}', b"\xff"):
        (folder / "report.json").write_bytes(damage)
        assert not Report.read(folder).findings
    made(cache, shelf)(1)
    assert len(Report.read(folder).findings) == 2
    assert {each.name for each in folder.iterdir()} == {"report.json", "lock"}


def test_processes_add_to_one_report(cache: CacheManager, shelf: str, tmp_path: Path) -> None:
    """The variable switches the check on in a process of its own."""
    made(cache, shelf)
    switch_on("record")
    made(cache, shelf)(1)
    name = f"region{uuid4().hex}"
    program = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        "from tests.beaker_regions.conftest import make_manager\n"
        f"cache = make_manager({name!r}, type='file', data_dir={str(tmp_path)!r}, secret='s')\n"
        f"@cache.region({name!r})\n"
        "def users(): return list(User.objects.all())\n"
        "try: users()\n"
        "except Exception: pass  # the database is empty\n"
    )
    database = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    environ = {**os.environ, "REGIONS_DEPENDENCIES": "record", "DATABASE_URL": database}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environ)
    tables = {table for _, _, table in Report.read(tmp_path / report.FOLDER).findings}
    assert tables == {"watched_book", "watched_owner", "auth_user"}
