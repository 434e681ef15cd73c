"""ARCHITECTURE.md names modules, and functions in them, that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_layers import RANKS

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "beaker_regions"
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
PATH = r"[\w/]+(?:\.py|\.md|/)"


def found(path: str) -> Path:
    """Return a file that the document names, from the tree or from the library."""
    return next((base / path for base in (LIBRARY, ROOT) if (base / path).exists()), ROOT / path)


@pytest.mark.parametrize("path", sorted(set(re.findall(f"`({PATH})`", TEXT))))
def test_a_named_path_exists(path: str) -> None:
    if path not in (
        "memcached/",
        "redis/",
        "files/",
        "beaker/",
        "servers/",
        "incoming/",
    ):  # within stores/, or a region
        assert found(path).exists()


@pytest.mark.parametrize(("path", "names"), re.findall(f"`({PATH})` ((?:`[\\w.]+`)+)", TEXT))
def test_a_named_function_is_in_its_module(path: str, names: str) -> None:
    for name in re.findall(r"`([\w.]+)`", names):
        defined = re.escape(name.rpartition(".")[2])
        assert re.search(rf"\b(def|class) {defined}\b", found(path).read_text()), name


def test_every_layer_is_in_the_table() -> None:
    table = TEXT.partition("## Layers")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)(?:/|\.py)`", table))
    assert set(RANKS["beaker_regions"]) <= named | {"__init__"}
