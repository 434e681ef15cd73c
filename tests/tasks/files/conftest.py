"""Imported files, and the text of their pages."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from tasks.models import ImportedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Import = Callable[[dict[str, bytes]], None]


@pytest.fixture
def imported(tmp_path: Path, transactional_db: None) -> Import:
    """Import files of these names and contents."""

    def bring(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        call_command("import_data", str(tmp_path))

    return bring


def address(path: str, page: str = "") -> str:
    return f"/files/{ImportedFile.objects.get(path=path).pk}/{page}"


def text_of(response: Any) -> str:
    """Return a page's text, unescaped, without tags, each run of white space one space."""
    body = response.content.decode().partition("<main")[2].partition(">")[2]
    return " ".join(re.sub(r"[ \n]+", " ", html.unescape(re.sub(r"<[^>]*>", "", body))).split(" "))
