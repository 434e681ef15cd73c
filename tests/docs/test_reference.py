"""The reference is complete: it names every option, argument, command, metric and export."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.utils.module_loading import import_string

import beaker_regions
import beaker_regions.django
from beaker_regions import CacheManager
from beaker_regions.config.options import BUILTIN_TYPES, COMMON
from beaker_regions.django.management.commands.regions import Command
from beaker_regions.django.templatetags.regions import register
from beaker_regions.reports.prometheus import RegionCollector
from tests.docs.blocks import ROOT

REFERENCE = ROOT / "docs/reference"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
OWN = re.compile(r"(?<![\w/.])beaker_regions(?:\.\w+)+")
LIBRARY = ROOT / "beaker_regions"


def named(page: str) -> set[str]:
    """Return the words that a page of the reference shows as code."""
    spans = re.findall(r"`([^`\n]+)`", (REFERENCE / page).read_text())
    return {word for span in spans for word in re.findall(r"\w+", span)}


def test_every_option_of_a_region() -> None:
    assert {*COMMON, *(each for own in BUILTIN_TYPES.values() for each in own)} <= named(
        "options.md"
    )


def test_every_argument_of_the_decorator() -> None:
    parameters = inspect.signature(CacheManager.region).parameters
    assert set(parameters) - {"self", "unknown"} <= named("decorator.md")


def test_every_subcommand() -> None:
    usage = Command().create_parser("manage.py", "regions").format_help()
    subcommands = set(re.findall(r"^    (\w+) ", usage, re.MULTILINE))
    assert {"warm", "tune"} <= subcommands <= named("commands.md")


def test_every_template_tag() -> None:
    assert set(register.tags) - {"placeholder"} <= named("templates.md")


def test_every_metric() -> None:
    assert {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in RegionCollector().collect()
    } <= named("metrics.md")


def test_every_export() -> None:
    text = "".join(path.read_text() for path in REFERENCE.glob("*.md"))
    names = [f"beaker_regions.{name}" for name in beaker_regions.__all__]
    names += [f"beaker_regions.django.{name}" for name in beaker_regions.django.__all__]
    missing = [name for name in names if not re.search(rf":: {re.escape(name)}$", text, re.M)]
    assert not missing


def test_every_extra_that_an_adopter_may_need() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    table = re.findall(
        r"^\| `(\w+)` \|", (ROOT / "docs/start/install.md").read_text(), re.MULTILINE
    )
    assert set(extras) - {"test", "bench"} <= set(table)


def test_every_kind_of_failure() -> None:
    source = "".join(path.read_text() for path in LIBRARY.rglob("*.py"))
    raised = re.findall(r'\b(?:StoreUnavailableError|fault)\(\s*(?:entry, )?"(\w+)"', source)
    classes = re.findall(r'^    KIND = "(\w+)"', source, re.MULTILINE)
    assert {"server", "applying"} <= {*raised, *classes} <= named("errors.md")


def test_every_check() -> None:
    ids = set(re.findall(r"regions\.[EW]\d+", (LIBRARY / "django/checks.py").read_text()))
    assert ids <= set(re.findall(r"regions\.[EW]\d+", (REFERENCE / "django.md").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_dotted_name_exists(page: Path) -> None:
    missing = [name for name in set(OWN.findall(page.read_text())) if not exists(name)]
    assert not missing


def exists(name: str) -> bool:
    """Whether there is a module, an attribute or a logger of this name."""
    if name in logging.Logger.manager.loggerDict:
        return True
    with contextlib.suppress(ModuleNotFoundError):  # of an attribute of a module
        if find_spec(name) is not None:
            return True
    with contextlib.suppress(ImportError):
        import_string(name)
        return True
    with contextlib.suppress(ImportError):  # of a method of a class
        owner, _, method = name.rpartition(".")
        return hasattr(import_string(owner), method)
    return False
