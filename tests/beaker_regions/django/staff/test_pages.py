"""The staff pages: permissions, content and buttons."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils.html import escape

from beaker_regions import CacheManager, counting_imports
from beaker_regions.django import region_page
from beaker_regions.django.staff.templatetags.regions_staff import NOTHING
from tests.beaker_regions.conftest import Calls, make_manager
from tests.waiting import stored_value

if TYPE_CHECKING:
    from tests.servers import Memcached

PAGES = ["", "function/?region=functions&name=tasks.lists.queries.page_of"]
INVALIDATE = "invalidate/?kind=tag&name=x"


def client_of(**fields: Any) -> Client:
    client = Client()
    client.force_login(User.objects.create_user(uuid4().hex, **fields))
    return client


@pytest.fixture
def staff(transactional_db: None) -> Client:
    """A staff user with the permission to invalidate."""
    client = client_of(is_staff=True)
    permission = Permission.objects.get(
        content_type__app_label="regions_staff", codename="invalidate"
    )
    User.objects.get(pk=client.session["_auth_user_id"]).user_permissions.add(permission)
    return client


@pytest.fixture
def cache(shelf: str, tmp_path: Path) -> CacheManager:
    return make_manager(shelf, type="file", data_dir=tmp_path, expire=3600, secret="s")


@pytest.fixture
def books(cache: CacheManager, shelf: str, calls: Calls) -> Any:
    def books_of(owner: int) -> int:
        return calls()

    books_of.__qualname__ = f"books_{shelf}"
    return cache.region(shelf, tags=["owner:{owner}"])(books_of)


def read(client: Client, path: str = "", **query: str) -> str:
    """Return a page's text, without the markup's line breaks."""
    response = client.get(f"/regions/{path}", query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


# -- permissions -----------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("page", [*PAGES, INVALIDATE])
def test_the_pages_are_for_staff_only(page: str) -> None:
    asked = Client().get(f"/regions/{page}")
    assert asked.status_code == 302
    assert asked.headers["Location"].startswith("/admin/login/?next=/regions/")
    assert client_of().get(f"/regions/{page}").status_code == 403
    reader = client_of(is_staff=True).get(f"/regions/{page}")
    assert reader.status_code == (403 if page == INVALIDATE else 200)
    assert "invalidate/" not in reader.content.decode()


@pytest.mark.django_db
def test_superusers_may_do_all() -> None:
    client = client_of(is_staff=True, is_superuser=True)
    for page in PAGES:
        assert "/regions/invalidate/" in client.get(f"/regions/{page}").content.decode()
    assert client.get(f"/regions/{INVALIDATE}").status_code == 200


@pytest.mark.django_db
def test_the_admin_links_to_them() -> None:
    client = client_of(is_staff=True)
    assert '<a href="/regions/">Regions</a>' in client.get("/admin/").content.decode()
    assert "/regions/" not in client_of().get("/admin/", follow=True).content.decode().replace(
        "next=/regions/", ""
    )


def test_a_user_without_the_permission_cannot_invalidate(
    transactional_db: None, books: Any, shelf: str
) -> None:
    assert books(1) == 1
    for client in (Client(), client_of(), client_of(is_staff=True)):
        assert client.post("/regions/invalidate/", of(books, shelf)).status_code in (302, 403)
    assert books(1) == 1
    assert not LogEntry.objects.exists()


def of(books: Any, shelf: str, kind: str = "function") -> dict[str, str]:
    """Return the form fields that name the entries to invalidate."""
    name = {"function": books.name, "tag": "owner:1", "region": shelf}[kind]
    return {"kind": kind, "region": shelf if kind == "function" else "", "name": name}


# -- invalidating ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["function", "tag", "region"])
def test_an_invalidation_is_confirmed_done_and_recorded(
    staff: Client, books: Any, shelf: str, kind: str
) -> None:
    assert (books(1), books(2)) == (1, 2)
    fields = of(books, shelf, kind)
    assert fields["name"] in read(staff, "invalidate/", **fields)
    assert books(1) == 1, "asking is not doing"
    done = staff.post("/regions/invalidate/", fields, follow=True)
    assert books(1) == 3
    assert (books(2) == 2) is (kind == "tag")
    user = User.objects.get(pk=staff.session["_auth_user_id"])
    (entry,) = LogEntry.objects.all()
    assert entry.user == user
    assert fields["name"] in entry.object_repr
    said = done.content.decode()
    assert f"Invalidated: {entry.object_repr.removeprefix('Invalidated: ')}" in said
    what = {"function": f"all calls of {books.name}", "tag": "the staff; tags: owner:1"}
    row = f'<td class="text">{what.get(kind, "the whole region")}</td></tr>'
    assert row in said


def test_a_forged_form_invalidates_nothing(staff: Client, books: Any, shelf: str) -> None:
    assert books(1) == 1
    checked = Client(enforce_csrf_checks=True)
    checked.cookies = staff.cookies
    fields = of(books, shelf)
    assert checked.post("/regions/invalidate/", fields).status_code == 403
    assert books(1) == 1
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', read(checked, "invalidate/", **fields))
    assert token
    checked.post("/regions/invalidate/", {**fields, "csrfmiddlewaretoken": token[1]})
    assert books(1) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": "tag", "name": " "},
        {"kind": "region", "name": "no such region"},
        {"kind": "function", "region": "functions", "name": "no.such.function"},
        {"kind": "everything", "name": "x"},
    ],
)
def test_unknown_regions_and_functions_are_not_found(staff: Client, fields: dict[str, str]) -> None:
    assert staff.get("/regions/invalidate/", fields).status_code == 404
    assert staff.post("/regions/invalidate/", fields).status_code == 404
    assert staff.get("/regions/function/", fields).status_code == 404
    assert not LogEntry.objects.exists()


def test_an_unavailable_server_is_invalidated_later(
    staff: Client, shelf: str, tmp_path: Path, calls: Calls, own_memcached: Memcached
) -> None:
    cache = make_manager(
        shelf,
        type="ext:memcached",
        url=own_memcached.address,
        data_dir=tmp_path,
        secret="s",
        timeout=0.5,
        retry=0.01,
    )

    @cache.region(shelf)
    def lamps(owner: int) -> int:
        return calls()

    before = stored_value(lambda: lamps(1))
    own_memcached.pause()
    fields = {"kind": "region", "name": shelf}
    assert staff.post("/regions/invalidate/", fields).status_code == 302
    own_memcached.resume()
    assert lamps(1) > before


# -- content ---------------------------------------------------------------------------------


def test_regions_and_functions_are_shown_with_their_counts(
    staff: Client, books: Any, shelf: str, tmp_path: Path
) -> None:
    for owner in (1, 1, 1, 2):
        books(owner)
    text = read(staff)
    card = text[text.index(f"<h3>{shelf}</h3>") :]
    assert f"<b>{tmp_path}</b>" in card
    assert "<dt>Expiry</dt><dd>1 h</dd>" in card
    assert "<dt>Entries</dt><dd>2</dd>" in card
    row = text[text.index(f">{books.name}</a>") :]
    cells = re.findall(r'<td class="number">(.*?)</td>', row)
    assert cells[:5] == ["1 h", NOTHING, "4", "50.0%", "2"]
    assert 'aria-label="first time 2 (100.0%)"' in row.partition("</tr>")[0]
    shown = read(staff, "function/", region=shelf, name=books.name)
    assert "<dt>Hits</dt><dd>2</dd>" in shown


def test_a_page_is_shown_with_its_own_expiry(
    staff: Client, cache: CacheManager, shelf: str
) -> None:
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    page.__qualname__ = f"page_{shelf}"
    region_page(cache[shelf], expire=120)(page)
    name = f"{page.__module__}.page_{shelf}"
    text = read(staff, q=shelf)
    assert f'>{name}</a></th> <td class="number">2 min</td>' in text
    assert "expires after <b>2 min</b>" in read(staff, "function/", region=shelf, name=name)


def test_the_curve_says_what_another_expiry_would_do(staff: Client, books: Any, shelf: str) -> None:
    for _ in range(150):
        books(1)
    shown = read(staff, "function/", region=shelf, name=books.name)
    assert "today: 1 h" in shown
    assert "From 150 calls" in shown
    assert re.search(r"<title>1 h: 99\.3%</title>", shown)
    assert re.search(r'<path class="line guess" d="M[^"]+ L', shown)


def test_a_function_without_calls_has_empty_charts(staff: Client, books: Any, shelf: str) -> None:
    shown = read(staff, "function/", region=shelf, name=books.name)
    assert "Only 0 calls were seen: too few to say anything." in shown
    assert "<svg viewBox" not in shown.replace('svg xmlns="', "")
    assert "No function has “no such name” in its name." in read(staff, q="no such name")


def test_a_region_that_shares_nothing_is_shown_too(staff: Client, shelf: str) -> None:
    cache = make_manager(shelf, type="memory", expire=60)

    @cache.region(shelf)
    def lamps(owner: int) -> int:
        return owner

    lamps(1)
    assert f"<h3>{shelf}</h3>" in read(staff)
    shown = read(staff, "function/", region=shelf, name=lamps.name)
    assert "Nothing is sampled" in shown


def test_unreadable_counters_break_no_page(
    staff: Client, books: Any, shelf: str, tmp_path: Path, settings: Any
) -> None:
    settings.METRICS_TOKEN = "t"
    books(1)
    read(staff)
    lock = tmp_path / ".metrics" / "lock"
    lock.unlink()
    lock.mkdir()
    assert f">{books.name}</a>" in read(staff)
    shown = read(staff, "function/", region=shelf, name=books.name)
    assert "<dt>Misses</dt><dd>1</dd>" in shown
    assert "Nothing is sampled" in shown
    scraped = Client().get("/metrics", headers={"Authorization": "Bearer t"})
    assert scraped.status_code == 503
    assert "Is a directory" in scraped.content.decode()


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_an_unavailable_server_is_named(
    staff: Client, shelf: str, fault: str, memcached: Memcached, own_memcached: Memcached
) -> None:
    urls = f"{memcached.address},{own_memcached.address}"
    cache = make_manager(shelf, type="ext:memcached", url=urls, secret="s")
    getattr(own_memcached, fault)()
    text = read(staff)
    card = text[text.index(f"<h3>{shelf}</h3>") :].partition("</section>")[0]
    levels = dict(re.findall(r'class="level">(\w+)</span> <span><b>([^<]*)</b>', card)[::-1])
    assert levels["error"] == own_memcached.address
    assert f"<b>{memcached.address}</b> memcached" in card
    assert cache.options


def test_problems_come_first(
    staff: Client, shelf: str, tmp_path: Path, own_memcached: Memcached
) -> None:
    cache = make_manager(
        shelf, type="ext:memcached", url=own_memcached.address, data_dir=tmp_path, secret="s"
    )
    assert f'<th scope="row">{own_memcached.address}</th><td><meter' in read(staff)
    own_memcached.kill()
    cache.invalidate_tags("list:7", "list:8")
    text = read(staff)
    banner = text[text.index("What is wrong") :].partition("</section>")[0]
    levels = re.findall(r'class="level">(\w+)</span> <span><b>([^<]*)</b> ([^<]*)', banner)
    mine = [
        (level, message) for level, subject, message in levels if own_memcached.address in subject
    ]
    assert [level for level, _ in mine] == ["error", "warning"]
    assert mine[0][1].startswith("memcached is away: ")
    assert mine[1][1].startswith("pending invalidations: 2")
    assert text.index("What is wrong") < text.index("Worth changing")
    assert '<span class="level">away</span>' in text


def test_a_better_expiry_is_named_with_its_line(
    staff: Client, shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_manager(shelf, type="file", data_dir=tmp_path, expire=1, secret="s")

    @cache.region(shelf)
    def slow(number: int) -> int:
        time.sleep(0.001)
        return number

    now = time.time() - 3600
    for second in range(0, 3600, 5):
        monkeypatch.setattr(time, "time", lambda at=now + second: at)
        for number in range(3):
            slow(number)
    monkeypatch.undo()
    text = read(staff)
    row = text[text.index("Worth changing") :].partition("</table>")[0]
    assert f">{escape(slow.name)}</a>" in row
    line = re.search(rf"<code>&quot;cache.{shelf}.expire&quot;: (\d+),</code>", row)
    assert line
    assert int(line[1]) > 1
    assert "in beakercache.py, for the whole region" in row


def test_one_switch_chooses_the_period_of_every_number(
    staff: Client, books: Any, shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3 * 3600)
    books(1)
    monkeypatch.undo()
    books(2)
    for period, misses in (("hour", 1), ("day", 2), ("all", 2)):
        text = read(staff, period=period)
        row = text[text.index(f">{books.name}</a>") :].partition("</tr>")[0]
        assert f'aria-label="first time {misses} (100.0%)"' in row
        assert re.search(rf'period={period}" aria-current="true"', text)
        shown = read(staff, "function/", region=shelf, name=books.name, period=period)
        assert f"<dt>Misses</dt><dd>{misses}</dd>" in shown
    assert "times are in UTC" in text


def test_imports_are_counted_apart(staff: Client, books: Any, shelf: str) -> None:
    books(1)
    with counting_imports():
        for number in range(7):
            books(number)
    books(1)
    text = read(staff)
    row = text[text.index(f">{books.name}</a>") :].partition("</tr>")[0]
    assert re.findall(r'<td class="number">(.*?)</td>', row)[2] == "2"
    assert f"<b>{shelf}</b>: 7 calls, 6 loads" in text


def test_sessions_are_left_out_of_the_invalidations(
    staff: Client, cache: CacheManager, shelf: str
) -> None:
    session = staff.session
    session["changed"] = shelf
    session.save()
    cache.invalidate_tags(shelf)
    text = read(staff)
    assert f"tags: {shelf}" in text
    assert "one call of beaker_regions.django.sessions" not in text
    assert "one call of beaker_regions.django.sessions" in read(staff, sessions="1")


def test_many_entries_are_estimated(
    staff: Client, cache: CacheManager, books: Any, shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in range(30):
        books(owner)
    monkeypatch.setattr("beaker_regions.django.staff.state.PATIENCE", -1)
    text = read(staff)
    card = text[text.index(f"<h3>{shelf}</h3>") :].partition("</section>")[0]
    assert re.search(r"<dt>Entries</dt><dd>about \d+</dd>", card)


def test_three_hundred_functions_can_be_searched_and_sorted(
    staff: Client, cache: CacheManager, shelf: str
) -> None:
    def made(number: int) -> Any:
        def load() -> int:
            return number

        load.__qualname__ = f"{shelf}_{number:03}"
        return cache.region(shelf)(load)

    functions = [made(number) for number in range(300)]
    for function in functions[7:9]:
        function()
    functions[8]()

    def names(**query: str) -> list[str]:
        _, _, table = read(staff, **query).partition('id="functions"')
        table, _, _ = table.partition("</table>")
        return re.findall(rf">[\w.]+{shelf}_(\d+)</a></th>", table)

    assert len(names(q=shelf)) == 300
    assert names(q=shelf)[:2] == ["008", "007"]
    assert names(q=shelf, order="function")[:2] == ["000", "001"]
    assert len(names(q=f"{shelf}_29")) == 10


def test_all_output_is_escaped(staff: Client, cache: CacheManager, shelf: str) -> None:
    mark = "<img src=x>"

    @cache.region(shelf, mark)
    def lamps(owner: int) -> int:
        return owner

    for _ in range(101):
        lamps(1)
    cache.invalidate_tags(mark)
    pages = [
        read(staff),
        read(staff, q=mark),
        read(staff, "function/", region=shelf, name=lamps.name),
        read(staff, "invalidate/", kind="function", region=shelf, name=lamps.name),
        read(staff, "invalidate/", kind="tag", name=mark),
        staff.post(
            "/regions/invalidate/", {"kind": "tag", "name": mark}, follow=True
        ).content.decode(),
        staff.get("/admin/").content.decode(),
    ]
    for page in pages:
        assert mark not in page
        assert "&lt;img src=x&gt;" in page


def test_neither_secrets_nor_passwords_are_shown(
    staff: Client, shelf: str, memcached: Memcached
) -> None:
    secret, password = uuid4().hex, uuid4().hex
    cache = make_manager(
        shelf,
        type="ext:memcached",
        url=memcached.address,
        secret=secret,
        username="regions",
        password=password,
    )
    text = read(staff)
    assert f"<h3>{shelf}</h3>" in text
    assert secret not in text
    assert password not in text
    assert cache.options
