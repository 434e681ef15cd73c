"""``manage.py regions``."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.beaker_regions.conftest import Calls, make_manager

if TYPE_CHECKING:
    from beaker_regions import CacheManager
    from tests.beaker_regions.conftest import Later
    from tests.servers import Memcached


ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.django_db(transaction=True)


def regions(*arguments: str) -> tuple[str, str]:
    """Run the command. Return its output and its errors."""
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
    assert header.split() == [
        *("region", "type", "expire", "entries", "size", "oldest", "evictions")
    ]
    (row,) = [row for row in rows if row.startswith(shelf)]
    assert re.fullmatch(rf"{shelf} +file +5 d +2 +108\.0 KB +[\d.]+ s +0", row)


def test_verify_names_the_removed_files(shelf: str, cache: CacheManager, tmp_path: Path) -> None:
    @cache.region(shelf)
    def load() -> bytes:
        return b"x" * 100_000

    load()
    assert regions("verify", shelf)[0] == f"Region {shelf}: every file is whole\n"
    (content,) = (tmp_path / shelf / "content").rglob("*-*")
    content.write_bytes(b"cut")
    err = io.StringIO()
    with pytest.raises(CommandError, match="1 file was removed"):
        call_command("regions", "verify", shelf, stderr=err)
    assert "the content cannot be used" in err.getvalue()


def test_all_processes_see_a_clear(shelf: str, cache: CacheManager, calls: Calls) -> None:
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


def test_sweep_without_a_region_sweeps_all_that_have_files(
    shelf: str, cache: CacheManager, later: Later
) -> None:
    @cache.region(shelf, expire=60)
    def load() -> int:
        return 1

    load()
    later(90)
    assert f"Region {shelf}: removed 1 entries, 0 leftovers\n" in regions("sweep")[0]


def test_an_unknown_region_is_named(shelf: str, cache: CacheManager) -> None:
    with pytest.raises(
        CommandError, match=f"There is no region '{shelf}x'; did you mean '{shelf}'"
    ):
        regions("clear", f"{shelf}x")


def test_tags_are_invalidated(shelf: str, cache: CacheManager, calls: Calls) -> None:
    @cache.region(shelf, tags=["number:{number}"])
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2)) == (1, 2)
    out, _ = regions("invalidate", "--tag", "number:1", "--tag", "number:3")
    assert out == "Invalidated tags: number:1, number:3\n"
    assert (load(1), load(2)) == (3, 2)
    for wrong in (["load", "--tag", "number:1"], []):
        with pytest.raises(CommandError, match="Give a function, or tags"):
            regions("invalidate", *wrong)


def test_functions_that_no_page_imports_are_found_by_their_application(
    shelf: str, cache: CacheManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = tmp_path / "shop_with_cached"
    application.mkdir()
    (application / "__init__.py").touch()
    (application / "cached.py").write_text(
        "from beaker_regions.engine.region import regions_named\n"
        f"NAMES = regions_named({shelf!r})[0].functions\n"
        "NAMES['shop_with_cached.prices'] = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "shop_with_cached"]):
        regions()
    assert "shop_with_cached.prices" in cache[shelf].functions


def test_the_module_of_the_regions_is_imported(tmp_path: Path) -> None:
    """This also works if no page imports the module, as in a project without pages."""
    (tmp_path / "bare.py").write_text(
        "SECRET_KEY = 's'\nINSTALLED_APPS = ['beaker_regions.django', 'shop']\nUSE_TZ = True\n"
    )
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "cached.py").write_text(
        "from beakercache import cache\n@cache.region('functions')\ndef prices(): ...\n"
    )
    (tmp_path / "beakercache.py").write_text(
        "from beaker_regions import *\ncache = CacheManager(**parse_cache_config_options({"
        "'cache.regions': 'functions', 'cache.type': 'file', 'cache.secret': 's', "
        f"'cache.data_dir': {str(tmp_path / 'data')!r}}}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "django", "regions"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "bare",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "shop.cached.prices" in run.stdout
