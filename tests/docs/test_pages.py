"""The code blocks of every page: they compile, their imports resolve, their commands are taken."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import shlex
import shutil
from pathlib import Path

import pytest
from django.core.management import load_command_class

from tests.docs.blocks import ROOT, Block, Reader, blocks, commands

PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md")),
]
COMMANDS = {"regions": "beaker_regions.django", "import_data": "tasks"}
"""Those of the tree, with their applications."""


def programs(block: Block) -> list[str]:
    """Return the Python programs in a block."""
    if block.language == "pycon":
        return ["".join(each.source for each in doctest.DocTestParser().get_examples(block.text))]
    return [block.text] if block.language == "python" else []


def of(*languages: str) -> list[object]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}")
        for page in PAGES
        for block in blocks(page)
        if block.language in languages
    ]


@pytest.mark.parametrize("block", of("python", "pycon"))
def test_a_block_compiles_and_its_imports_resolve(block: Block) -> None:
    for program in programs(block):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("beaker"):
                if node.module == "beakercache":
                    continue
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("block", of("console"))
def test_commands_of_the_tree_are_taken(block: Block) -> None:
    for command in commands(block):
        words = shlex.split(command.command, comments=True)
        if "manage.py" not in words:
            continue
        name, *arguments = words[words.index("manage.py") + 1 :]
        if name in COMMANDS:
            parser = load_command_class(COMMANDS[name], name).create_parser("manage.py", name)
            parser.parse_args(arguments)


def test_the_session_of_the_readme_is_real(tmp_path: Path) -> None:
    shutil.copy(ROOT / "beakercache.py", tmp_path)
    reader = Reader(tmp_path, {"PATH": os.environ["PATH"]}, settings="")
    sessions = [block for block in blocks(ROOT / "README.md") if block.language == "pycon"]
    assert sessions
    for block in sessions:
        reader.converse(block, f"README.md, line {block.line}")
