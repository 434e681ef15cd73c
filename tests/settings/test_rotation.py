"""A secret key that is replaced by another, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.settings.test_settings import PRODUCTION, ROOT

if TYPE_CHECKING:
    from pathlib import Path

ASK = """
import django
django.setup()
from django.core import signing
from django.core.signing import BadSignature
from beakercache import cache
import sys

@cache.region("functions", key=lambda: ())
def function():
    return sys.argv[1]

@cache.region("files", key=lambda: ())
def content():
    return sys.argv[1].encode()

try:
    signed = signing.loads(sys.argv[2]) if len(sys.argv) > 2 else "-"
except BadSignature:
    signed = "refused"
print(function(), content().decode(), signed, signing.dumps("signed"))
"""


def test_a_key_is_replaced_by_another_and_nothing_is_lost(tmp_path: Path) -> None:
    def ask(*arguments: str, key: str, others: str = "") -> list[str]:
        environ = {
            **os.environ,
            **PRODUCTION,
            "DJANGO_SETTINGS_MODULE": "settings.production",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
            "REGIONS_DATA_DIR": str(tmp_path / "regions"),
            "SECRET_KEY": key * 50,
            "SECRET_KEY_FALLBACKS": others * 50,
        }
        return subprocess.run(
            [sys.executable, "-c", ASK, *arguments],
            cwd=ROOT,
            env=environ,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.split()

    *_, token = ask("first", key="a")
    # The steps of docs/operations.md: the next key is accepted, it is used, the old one is not.
    assert ask("second", token, key="a", others="b")[:3] == ["first", "first", "signed"]
    *found, later = ask("third", token, key="b", others="a")
    assert found == ["first", "first", "signed"]
    assert ask("fourth", later, key="a", others="b")[2] == "signed", "the others, a step behind"
    assert ask("fifth", token, key="b")[:3] == ["fifth", "fifth", "refused"]
