"""The code blocks of a Markdown document, and what it takes to follow them as a reader does."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BLOCK = re.compile(
    r"^(?P<indent>[ ]*)(?P<fence>`{3,}|:{3,})"
    r"(?:\{code-block\}[ ]*)?(?P<language>[\w-]+)[ ]*\n(?P<body>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
ROOT = Path(__file__).parents[2]

_OPTION = re.compile(r"^:(?P<name>[\w-]+):[ ]*(?P<value>.*)\n", re.MULTILINE)


class Block(NamedTuple):
    """One code block."""

    language: str
    options: dict[str, str]
    """Such as ``caption``: the file that the block is."""
    text: str
    line: int
    """Where it begins, from 1."""


def blocks(document: Path) -> Iterator[Block]:
    """Yield the code blocks of a document, in order."""
    source = document.read_text()
    for found in _BLOCK.finditer(source):
        body = textwrap.dedent(found["body"])
        options = {}
        while option := _OPTION.match(body):
            options[option["name"]] = option["value"].strip()
            body = body[option.end() :]
        line = source.count("\n", 0, found.start()) + 1
        yield Block(found["language"], options, body.lstrip("\n"), line)


class Command(NamedTuple):
    """A command of a ``console`` block, and what it prints."""

    command: str
    output: str


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a ``console`` block. A line that ends with a backslash goes on."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield Command(command, output)


def matches(expected: str, printed: str) -> bool:
    """Whether a command printed what a document shows. ``…`` stands for any text."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


class Reader:
    """Follows a document in a folder: writes its files, runs its commands and its sessions."""

    def __init__(self, folder: Path, environ: Mapping[str, str], settings: str) -> None:
        self.folder = folder
        self._environ = dict(environ)
        self._settings = settings

    def follow(self, document: Path) -> None:
        """Do what each block says, in order. Raises AssertionError where it is not true."""
        for block in blocks(document):
            where = f"{document.name}, line {block.line}"
            if "caption" in block.options:
                name, _, place = block.options["caption"].partition(", ")
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a" if place == "at its end" else "w") as file:
                    file.write(block.text)
            elif block.language == "console":
                for command in commands(block):
                    self._run(command, where)
            elif block.language == "pycon":
                self.converse(block, where)

    def _run(self, command: Command, where: str) -> None:
        done = subprocess.run(
            command.command,
            shell=True,
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        printed = done.stdout + done.stderr
        assert matches(command.output, printed), (
            f"{where}: {command.command} printed\n{printed}\nand not\n{command.output}"
        )

    def converse(self, block: Block, where: str) -> None:
        """Have an interactive session. Raises AssertionError if it shows something else."""
        program = (
            f"import sys; sys.path.append({str(ROOT)!r}); "
            f"from tests.docs.blocks import converse; converse({block.text!r})"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.folder,
            env=self._environ | {"DJANGO_SETTINGS_MODULE": self._settings},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{where}:\n{done.stdout}{done.stderr}"


def converse(session: str) -> None:
    """Run an interactive session in a process of its own, under Django if there are settings. Exits
    with status 1 if something else is printed."""
    if os.environ["DJANGO_SETTINGS_MODULE"]:
        import django

        django.setup()
    else:
        del os.environ["DJANGO_SETTINGS_MODULE"]
    test = doctest.DocTestParser().get_doctest(
        session.replace("…", "..."), {"__name__": "__console__"}, "session", None, 0
    )
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    sys.exit(bool(runner.failures))
