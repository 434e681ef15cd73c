"""``manage.py regions warm``."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections

from tests.beaker_regions.conftest import make_manager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import Memcached

Decorate = Any
"""Decorates a function under a unique name, because functions are found by name."""


@pytest.fixture
def name() -> str:
    return f"f{uuid4().hex}"


def decorate(name: str, function: Callable[..., Any], options: dict[str, Any], **own: Any) -> Any:
    function.__qualname__ = name
    return make_manager(name, secret="s", **options).region(name, **own)(function)


@pytest.fixture
def halves(name: str, tmp_path: Path) -> Any:
    def half(number: int) -> float:
        return {1: 0.5, 2: 1.0}[number]

    files = {"type": "file", "data_dir": tmp_path}
    return decorate(name, half, files, warm=lambda: [1, 2])


def warm(*arguments: str) -> tuple[str, str]:
    """Return what the command prints, and its error."""
    out = io.StringIO()
    try:
        call_command("regions", "warm", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), f"{error.returncode}: {error}"
    return out.getvalue(), ""


def test_a_line_for_each_function(halves: Any, name: str) -> None:
    halves(1)
    out, error = warm(name, "--jobs", "1")
    assert re.fullmatch(
        rf"\S+{name}: 2 calls, 1 stored already, 1 loaded, 0 failed, [\d.]+ s\n", out
    )
    assert not error
    (printed,) = json.loads(warm(halves.name, "--json")[0])
    assert printed.pop("seconds") >= 0
    assert printed == {
        "function": halves.name,
        "region": name,
        "calls": 2,
        "stored": 2,
        "loaded": 0,
        "failed": 0,
        "error": None,
    }


def test_a_failure_is_reported_and_the_other_functions_are_warmed(
    halves: Any, tmp_path: Path
) -> None:
    def third(number: int) -> float:
        raise LookupError(f"no {number}")

    other = f"f{uuid4().hex}"
    files = {"type": "file", "data_dir": tmp_path}
    broken = decorate(other, third, files, warm=lambda: [7, 8])
    out, error = warm(other, halves.name, "--jobs", "1")
    first, reason, second = out.splitlines()
    assert "2 calls, 0 stored already, 0 loaded, 2 failed" in first
    assert reason == f"  {broken.name}(7): LookupError('no 7')"
    assert "2 loaded, 0 failed" in second
    assert error == "1: 1 of 2 functions could not be warmed; see above"
    (printed,) = json.loads(warm(other, "--json")[0])
    assert printed["failed"] == 2
    assert "LookupError" in printed["error"]


def test_memcached_is_unavailable(name: str, own_memcached: Memcached) -> None:
    def half(number: int) -> float:
        return number / 2

    servers = {"type": "ext:memcached", "url": own_memcached.address, "retry": 0.1}
    function = decorate(name, half, servers, warm=lambda: [1, 2])
    own_memcached.kill()
    out, error = warm(name)
    assert f"{function.name}(1): memcached {own_memcached.address}" in out
    assert error == "1: 1 of 1 functions could not be warmed; see above"


def test_functions_that_cannot_be_warmed_are_reported(
    halves: Any, name: str, tmp_path: Path
) -> None:
    plain = f"f{uuid4().hex}"
    function = decorate(plain, lambda: None, {"type": "file", "data_dir": tmp_path})
    assert warm(plain)[1].startswith(
        f"1: {function.name} has no warm=: a function without arguments"
    )
    assert warm(f"{name}x")[1].endswith(f"did you mean '{name}'?")
    assert "argument --jobs: '0' is not a number from 1 to 100" in warm("--jobs", "0")[1]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.django_db(transaction=True)
def test_database_connections_are_the_threads_own_and_closed_at_the_end(
    name: str, tmp_path: Path, is_async: bool
) -> None:
    used = []

    def username(pk: int) -> str:
        used.append(connections["default"])
        return User.objects.get(pk=pk).username

    async def username_later(pk: int) -> str:
        used.append(await sync_to_async(lambda: connections["default"])())
        return (await User.objects.aget(pk=pk)).username

    users = [User.objects.create(username=f"user {number}").pk for number in range(6)]
    decorate(
        name,
        username_later if is_async else username,
        {"type": "file", "data_dir": tmp_path},
        warm=lambda: User.objects.values_list("pk", flat=True),
    )
    out, _ = warm(name, "--jobs", "2")
    assert "6 calls, 0 stored already, 6 loaded" in out
    assert len(used) == len(users)
    assert 1 <= len(set(map(id, used))) <= 2
    assert connections["default"] not in used
    assert {each.connection for each in used} == {None}, "closed"
