"""``manage.py regions``."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from tests.regions.conftest import Calls, make_manager

if TYPE_CHECKING:
    from pathlib import Path

    from regions import CacheManager
    from tests.servers import Memcached


def regions(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it printed, and what it complained of."""
    out, err = io.StringIO(), io.StringIO()
    call_command("regions", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def cache(shelf: str, tmp_path: Path) -> CacheManager:
    return make_manager(shelf, type="file", data_dir=tmp_path, expire=5 * 86400, secret="s")


def test_the_table(shelf: str, cache: CacheManager) -> None:
    @cache.region(shelf)
    def load(number: int) -> bytes:
        return b"x" * 100_000

    load(1)
    load(2)
    out, _ = regions()
    header, *rows = out.splitlines()
    assert header.split() == ["region", "type", "expire", "entries", "size", "oldest"]
    (row,) = [row for row in rows if row.startswith(shelf)]
    assert re.fullmatch(rf"{shelf} +file +5 d +2 +9\d\.\d KB +[\d.]+ s", row)


def test_verify_names_what_it_takes_out(shelf: str, cache: CacheManager, tmp_path: Path) -> None:
    @cache.region(shelf)
    def load() -> bytes:
        return b"x" * 100_000

    load()
    assert regions("verify", shelf)[0] == f"Region {shelf}: everything is as it was stored\n"
    (content,) = (tmp_path / shelf / "content").rglob("*-*")
    content.write_bytes(b"cut")
    err = io.StringIO()
    with pytest.raises(CommandError, match="1 files were taken out"):
        call_command("regions", "verify", shelf, stderr=err)
    assert "the content cannot be used" in err.getvalue()


def test_clear_is_seen_by_everybody(shelf: str, cache: CacheManager, calls: Calls) -> None:
    @cache.region(shelf)
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    assert regions("clear", shelf) == (f"Region {shelf} is empty\n", "")
    assert load() == 2


def test_clear_of_a_region_on_memcached(shelf: str, memcached: Memcached, calls: Calls) -> None:
    cache = make_manager(shelf, type="ext:memcached", url=memcached.address, secret="s")

    @cache.region(shelf)
    def load() -> int:
        return calls()

    assert (load(), load()) == (1, 1)
    regions("clear", shelf)
    assert load() == 2
    with pytest.raises(CommandError, match="no files here"):
        regions("sweep", shelf)


def test_sweep(shelf: str, cache: CacheManager) -> None:
    assert regions("sweep", shelf) == (
        f"Region {shelf}: removed 0 entries, 0 leftovers\n",
        "",
    )


def test_a_region_that_is_not_there_is_named(shelf: str, cache: CacheManager) -> None:
    with pytest.raises(
        CommandError, match=f"There is no region '{shelf}x'; did you mean '{shelf}'"
    ):
        regions("clear", f"{shelf}x")
