"""What production answers to whom, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.settings.test_settings import PRODUCTION, ROOT

if TYPE_CHECKING:
    from pathlib import Path

ASK = """
import json, sys
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
User.objects.create_user("user", password="correct-horse-battery")
fields = {"username": "user", "password": "correct-horse-battery"}

def answer(method, path, data=None, **headers):
    response = getattr(Client(), method)(path, data, headers=headers)
    cookies = {name: dict(morsel) for name, morsel in response.cookies.items()}
    return {"status": response.status_code, "headers": dict(response.headers), "cookies": cookies}

tls = {"host": "tasks.example.org", "x-forwarded-proto": "https"}
print(json.dumps({
    "plain": answer("get", "/files/?q=a", host="tasks.example.org"),
    "elsewhere": answer("get", "/", host="evil.invalid"),
    "log in": answer("post", "/accounts/login/", fields, **tls),
    "message": answer("post", "/", {"name": "a task"}, **tls),
}))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("production")
    environ = {
        **os.environ,
        **PRODUCTION,
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "REGIONS_DATA_DIR": str(folder / "regions"),
        "DJANGO_SETTINGS_MODULE": "settings.production",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_request_without_tls_is_redirected_to_it(answers: Any) -> None:
    assert answers["plain"]["status"] == 301
    assert answers["plain"]["headers"]["Location"] == "https://tasks.example.org/files/?q=a"


def test_a_host_that_is_not_the_sites_is_refused(answers: Any) -> None:
    assert answers["elsewhere"]["status"] == 400


def test_cookies_are_sent_over_tls_only_and_not_shown_to_scripts(answers: Any) -> None:
    answer = answers["log in"]
    assert answer["status"] == 302
    assert "max-age=31536000" in answer["headers"]["Strict-Transport-Security"]
    assert set(answer["cookies"]) == {"__Host-sessionid", "__Host-csrftoken", "__Host-messages"}
    cookies_of_messages = answers["message"]["cookies"]
    assert set(cookies_of_messages) == {"__Host-sessionid", "__Host-messages"}
    for cookie in (*answer["cookies"].values(), *cookies_of_messages.values()):
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert (cookie["path"], cookie["domain"]) == ("/", "")
