"""The package as another project installs it: a wheel, in an environment without Django."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCES = ("beaker_regions", "pyproject.toml", "README.md", "LICENSE")

CONSUMER = """\
from beaker_regions import CacheManager, parse_cache_config_options

options = {"cache.regions": "functions", "cache.type": "file", "cache.data_dir": "kept"}
cache = CacheManager(**parse_cache_config_options(options | {"cache.secret": "of the consumer"}))


@cache.region("functions")
def double(number: int) -> int:
    print("doubling", number)
    return 2 * number
"""


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*pip, "-w", "dist", ".", folder=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def consumer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another project: its environment has the wheel, and what that says it needs."""
    folder = tmp_path_factory.mktemp("consumer")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    _provide(site, importlib.metadata.Distribution.at(_metadata(wheel, folder)).requires)
    pip = [sys.executable, "-m", "pip", "--python", folder / "venv/bin/python"]
    run(*pip, "install", "-q", "--no-index", "--no-deps", wheel, folder=folder)
    assert run(*pip, "check", folder=folder) == "No broken requirements found.\n"
    (folder / "consumer.py").write_text(CONSUMER)
    return folder


def _metadata(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return Path(archive.extract(name, folder / "metadata")).parent


def _provide(site: Path, requirements: list[str] | None) -> None:
    """Give an environment what is required without an extra, from this one."""
    for requirement in map(Requirement, requirements or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = importlib.metadata.distribution(requirement.name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(str(found.locate_file(top)))
        _provide(site, found.requires)


def test_the_wheel_has_all_that_the_library_is_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "beaker_regions").rglob("*") if path.is_file()]
    present = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert {
        "beaker_regions/py.typed",
        "beaker_regions/django/templates/regions/toolbar.html",
    } <= present
    assert packed == present


def test_its_metadata_forces_no_framework_on_anybody(wheel: Path, tmp_path: Path) -> None:
    installed = importlib.metadata.Distribution.at(_metadata(wheel, tmp_path))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (installed.metadata["Name"], installed.version) == ("beaker-regions", project["version"])
    assert installed.metadata["Requires-Python"] == ">=3.11"
    assert installed.metadata["License-Expression"] == "MIT"
    title = (ROOT / "README.md").read_text().partition("\n")[0]
    assert title in (installed.read_text("METADATA") or "")
    required = [Requirement(each) for each in installed.requires or ()]
    assert {it.name for it in required if it.marker is None} == {"beaker", "python-memcached"}
    assert {it.name for it in required if str(it.marker) == 'extra == "django"'} == {"django"}


def test_it_works_where_there_is_no_django(consumer: Path) -> None:
    python = consumer / "venv/bin/python"
    found = run(
        python, "-c", "import importlib.util as u; print(u.find_spec('django'))", folder=consumer
    )
    assert found == "None\n"
    twice = "from consumer import double; print(double(2), double(2))"
    assert run(python, "-c", twice, folder=consumer) == "doubling 2\n4 4\n"
    assert run(python, "-c", twice, folder=consumer) == "4 4\n", "kept for the next process"


def test_a_type_checker_sees_through_the_decorator(consumer: Path) -> None:
    (consumer / "typed.py").write_text(
        "from consumer import double\n"
        "reveal_type(double(2))\n"
        "double.invalidate('two')\n"
        "reveal_type(double.peek(2))\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=types", "--config-file="]
    done = subprocess.run(
        [*mypy, "--python-executable=venv/bin/python", "typed.py"],
        cwd=consumer,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == 'typed.py:2: note: Revealed type is "int"'
    assert lines[1].startswith('typed.py:3: error: Argument 1 to "invalidate"')
    assert lines[2] == 'typed.py:4: note: Revealed type is "int | None"'
    assert lines[3] == "Found 1 error in 1 file (checked 1 source file)"


@pytest.mark.parametrize(
    "module", ["manager", "config.environment", "config.parsing", "config.secrets"]
)
def test_the_examples_of_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"beaker_regions.{module}"))
    assert (found.failed, found.attempted > 0) == (0, True)
