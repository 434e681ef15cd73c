"""The tutorial is followed to its end by its text alone, in a new project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, Reader

INHERITED = ("HOME", "LANG", "PYTHONPATH", "TMPDIR")
"""Variables of this process that a reader has too; PYTHONPATH may name another Django."""


def test_the_tutorial_holds(tmp_path: Path) -> None:
    environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    Reader(tmp_path, environ, "journal.settings").follow(ROOT / "docs/start/tutorial.md")
