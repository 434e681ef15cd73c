"""The architecture of the library and of the application: which layer may import which."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "beaker_regions"
LAYERS = {
    PACKAGE: (
        "errors runtime",
        "config entries",
        "telemetry",
        "engine",
        "api",
        "stores",
        "reports",
        "beaker_api",
        "manager",
        "__init__",
        "testing",
        "django",
        "pytest_plugin",
    ),
    "tasks": (
        "__init__",
        "migrations models",
        "bypass forms scripts throttling",
        "lists",
        "sources",
        "files",
        "importing",
        "templatetags views",
        "admin management urls",
        "apps",
    ),
}
"""For each package, from the lowest to the highest: a module imports from its own layer and from
lower ones. The library's are the list that ARCHITECTURE.md explains."""
RANKS = {
    package: {part: rank for rank, parts in enumerate(layers) for part in parts.split()}
    for package, layers in LAYERS.items()
}
PUBLIC = {PACKAGE, f"{PACKAGE}.django"}
"""What applications import from."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, modules: set[str]) -> set[str]:
    """Return the package's modules that a module imports, for its types alone included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
    return found - {name_of(path)}


Graph = dict[str, set[str]]


@pytest.fixture(scope="module", params=LAYERS)
def graph(request: pytest.FixtureRequest) -> Graph:
    paths = {name_of(path): path for path in (ROOT / request.param).rglob("*.py")}
    return {name: imports(path, set(paths)) for name, path in paths.items()}


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def rank_of(module: str) -> int:
    return RANKS[module.partition(".")[0]][layer_of(module)]


def test_every_module_is_in_a_layer(graph: Graph) -> None:
    package = next(iter(graph)).partition(".")[0]
    assert {layer_of(module) for module in graph} == set(RANKS[package])


def test_no_import_runs_up(graph: Graph) -> None:
    up = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if rank_of(other) > rank_of(module)
    ]
    assert not up


def test_no_modules_import_each_other(graph: Graph) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("part", ["beakercache.py", "project", "settings", "tasks", "examples"])
def test_applications_import_what_is_exported(part: str) -> None:
    place = ROOT / part
    for path in place.rglob("*.py") if place.is_dir() else [place]:
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                assert node.module in PUBLIC, f"{path.relative_to(ROOT)} imports {node.module}"
