"""Attacks: guessed passwords, large bodies, other hosts, pages of other sites."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import RequestFactory

from beakercache import cache
from tasks.models import ImportedFile
from tasks.throttling import FAILURES, SIGN_UPS, TRIES, address_of
from tests.tasks.conftest import PASSWORD, Browser, MakeBrowser, Page, at_once
from tests.tasks.importing.test_import import import_data
from tests.tasks.test_leaks import put_on_memcached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django.fixtures import Settings

    from tests.servers import Memcached

pytestmark = pytest.mark.django_db(transaction=True)

LOG_IN = "/accounts/login/"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    """Counts outlive their tests, so reset them."""
    for address in (HERE, ELSEWHERE):
        FAILURES.forget(address)
        SIGN_UPS.forget(address)
        for name in ("user", "nobody", "other"):
            TRIES.forget(name, address)


def guess(browser: Browser, name: str = "user", password: str = "wrong", at: str = LOG_IN) -> Page:
    return browser.post(at, username=name, password=password)


# -- throttling ----------------------------------------------------------------------------


@pytest.mark.parametrize("at", [LOG_IN, "/admin/login/"])
@pytest.mark.parametrize("name", ["user", "nobody"])
def test_after_too_many_guesses_the_page_gives_the_time_to_wait(
    browser: MakeBrowser, user: User, name: str, at: str
) -> None:
    mine = browser(REMOTE_ADDR=HERE)
    mine.add("kept")
    for _ in range(TRIES.most):
        assert "Please enter" in guess(mine, name, at=at).text
    page = guess(mine, name, PASSWORD, at)
    assert page.status == 429
    assert page.response["Retry-After"] == "900"
    assert "no-store" in page.response["Cache-Control"]
    assert "in 15 minutes" in page.text
    assert mine.get().names == ["kept"]
    # Another spelling does not get around it, in this browser or another.
    for spelling in (
        *(name.upper(), f" {name}", name.replace("o", "ö").replace("u", "\uff55")),
        *(f"\u200b{name}", f"{name[:2]}\u00ad{name[2:]}", f"{name}\ufe0f", f"\x01{name}"),
    ):
        assert guess(browser(REMOTE_ADDR=HERE), spelling, PASSWORD, at).status == 429
    # Other users of the site, or of the name, can still log in.
    assert "user" in guess(browser(REMOTE_ADDR=ELSEWHERE), "user", PASSWORD).text
    User.objects.create_user("other", password=PASSWORD)
    assert "other" in guess(browser(REMOTE_ADDR=HERE), "other", PASSWORD).text


@pytest.mark.skipif(connection.vendor != "mysql", reason="SQLite compares names byte by byte")
def test_spellings_that_a_database_treats_as_one_name_are_counted_together(
    browser: MakeBrowser, user: User
) -> None:
    # As MariaDB from 11.5 on, and MySQL, have it by default: accents and what is unseen count not.
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE auth_user MODIFY username VARCHAR(150) "
            "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL"
        )
    spellings = ["us\u200ber", "us\u0338er", "\u2060user", "u\u017fer", "USE\u0154"]
    for spelling in spellings * 2:
        assert guess(browser(REMOTE_ADDR=HERE), spelling).status == 422
    assert guess(browser(REMOTE_ADDR=HERE), "u\u200bser", PASSWORD).status == 429
    assert guess(browser(REMOTE_ADDR=HERE), "user", PASSWORD).status == 429


def test_simultaneous_guesses_share_one_limit(browser: MakeBrowser, user: User) -> None:
    browsers = [browser(REMOTE_ADDR=HERE) for _ in range(TRIES.most + 6)]
    pages = at_once(*(lambda one=one: guess(one) for one in browsers))
    assert sorted(page.status for page in pages) == [422] * TRIES.most + [429] * 6


def test_a_login_resets_only_the_failures_of_its_own_user(
    browser: MakeBrowser, user: User, other: User
) -> None:
    for _ in range(2):
        for _ in range(TRIES.most - 1):
            assert guess(browser(REMOTE_ADDR=HERE)).status == 422
        assert guess(browser(REMOTE_ADDR=HERE), "user", PASSWORD).status == 200
    attacker = browser(REMOTE_ADDR=HERE)
    for _ in range(TRIES.most):
        guess(browser(REMOTE_ADDR=HERE))
        assert guess(attacker, "other", PASSWORD).status == 200
        # A logged-in user is redirected; name and password are not checked.
        guess(attacker, "user")
    assert guess(browser(REMOTE_ADDR=HERE)).status == 429


def test_an_address_that_fails_with_many_names_is_refused(browser: MakeBrowser, user: User) -> None:
    for _ in range(FAILURES.most - 2):
        FAILURES.count(HERE)
    for number in range(2):
        assert guess(browser(REMOTE_ADDR=HERE), f"name{number}").status == 422
    assert guess(browser(REMOTE_ADDR=HERE), "user", PASSWORD).status == 429
    assert guess(browser(REMOTE_ADDR=ELSEWHERE), "user", PASSWORD).status == 200


def test_an_address_that_signs_up_too_often_is_refused(browser: MakeBrowser) -> None:
    for _ in range(SIGN_UPS.most - 2):
        SIGN_UPS.count(HERE)
    for _ in range(2):
        assert browser(REMOTE_ADDR=HERE).sign_up("").status == 422
    page = browser(REMOTE_ADDR=HERE).sign_up("new")
    assert (page.status, page.response["Retry-After"]) == (429, "3600")
    assert not User.objects.exists()
    assert browser(REMOTE_ADDR=ELSEWHERE).sign_up("new").status == 200


@pytest.fixture
def _memcached_hangs(own_memcached: Memcached, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_memcached(own_memcached, monkeypatch)
    own_memcached.pause()


@pytest.fixture
def _no_folder() -> Iterator[None]:
    """A file replaces the region's folder."""
    store: Any = cache["functions"].store
    aside = store.folder.with_name("aside")
    os.rename(store.folder, aside)
    store.folder.write_bytes(b"")
    yield
    store.folder.unlink()
    os.rename(aside, store.folder)


@pytest.mark.parametrize("away", ["_no_folder", "_memcached_hangs"])
def test_logins_work_while_the_region_is_unavailable(
    browser: MakeBrowser, user: User, away: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(away)
    for _ in range(TRIES.most + 1):
        assert guess(browser(REMOTE_ADDR=HERE)).status == 422
    assert "user" in guess(browser(REMOTE_ADDR=HERE), "user", PASSWORD).text
    assert browser(REMOTE_ADDR=HERE).sign_up("new").status == 200


@pytest.mark.parametrize(
    ("behind_proxy", "address", "forwarded", "counted"),
    [
        (False, HERE, "198.51.100.7", HERE),
        (True, HERE, "198.51.100.7", "198.51.100.7"),
        (True, HERE, "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (True, HERE, "", HERE),
        (True, "", "nonsense", ""),
        (False, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (False, "2001:db8:1:2:ffff::", "", "2001:db8:1:2::/64"),
        (False, "::ffff:192.0.2.1", "", HERE),
    ],
)
def test_a_client_cannot_choose_its_own_address(
    settings: Settings, behind_proxy: bool, address: str, forwarded: str, counted: str
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    request = RequestFactory(REMOTE_ADDR=address).get("/", HTTP_X_FORWARDED_FOR=forwarded)
    assert address_of(request) == counted


# -- headers and bodies --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/files/", LOG_IN, "/admin/login/", "/nowhere/"])
def test_the_policy_of_every_page_allows_this_site_only(browser: MakeBrowser, path: str) -> None:
    page = browser().get(path)
    policy = dict(
        directive.split(" ", 1)
        for directive in page.response["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    inline = r'<style|<[^>]* (style|on\w+)=|="javascript:|<script(?![^>]* src="/static/)'
    assert re.findall(inline, page.html) == []
    assert page.response["X-Content-Type-Options"] == "nosniff"
    assert page.response["X-Frame-Options"] == "DENY"
    assert page.response["Referrer-Policy"] == "same-origin"
    assert page.response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page.response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in page.response["Permissions-Policy"]


def test_a_file_in_the_browsers_cache_keeps_its_stricter_policy(
    browser: MakeBrowser, tmp_path: Path
) -> None:
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    import_data(tmp_path)
    client, address = browser().client, f"/files/{ImportedFile.objects.get().pk}/raw/"
    first = client.get(address)
    first.close()
    policy = first["Content-Security-Policy"]
    assert "sandbox" in policy
    again = client.get(address, headers={"if-none-match": first["ETag"]})
    assert again.status_code == 304
    # The headers of this answer replace the stored ones of the browser.
    assert again.get("Content-Security-Policy", policy) == policy


def test_a_foreign_host_is_refused_and_not_repeated_in_the_answer(browser: MakeBrowser) -> None:
    page = Page(browser().client.get("/accounts/login/", headers={"host": "evil.invalid"}))
    assert page.status == 400
    assert "evil" not in page.html
    assert "Content-Security-Policy" in page.response


@pytest.mark.parametrize("path", ["/", LOG_IN])
@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * (1 << 20)},
        {"name": ["x"] * 1001},
        {"name": "x", "file": SimpleUploadedFile("large", bytes(1 << 20))},
    ],
    ids=["large", "many fields", "a file"],
)
def test_a_body_that_is_not_from_a_form_is_refused(
    browser: MakeBrowser, path: str, fields: dict[str, Any]
) -> None:
    mine = browser()
    mine.add("kept")
    assert mine.post(path, **fields).status == 400
    assert mine.get().names == ["kept"]
