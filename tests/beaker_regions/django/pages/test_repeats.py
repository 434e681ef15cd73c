"""Equal requests: answered without the other middleware, and never with anything else."""

from __future__ import annotations

import asyncio
import gc
import gzip
import random
import time
import tracemalloc
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import reverse, set_script_prefix

from beaker_regions.django import middleware
from beaker_regions.django.pages import placeholders
from tests.beaker_regions.django.pages.test_forms import post, token_in, visit
from tests.waiting import until
from tests.wsgi_client import WSGIClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest

    from tests.beaker_regions.conftest import Later
    from tests.beaker_regions.django.pages.conftest import Site

pytestmark = pytest.mark.parametrize("manager", ["memcached_manager"], indirect=True)

THIS = "tests.beaker_regions.django.pages.test_repeats"
FORM = "<form>{% csrf_token %}</form>"
seen: list[HttpRequest] = []
"""The requests that the middleware below has seen."""


def counting(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def count(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return get_response(request)

    return count


def numbering(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def number(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Number"] = str(len(seen))
        return response

    return number


def signing(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def sign(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.content += b" answer %d" % len(seen)
        return response

    return sign


def flagging(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def flag(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Flag"] = str(Group.objects.filter(name="flag").exists())
        return response

    return flag


def baking(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def bake(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.set_cookie("visited", "yes")
        return response

    return bake


def with_language(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def add(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Language"] = request.headers.get("Accept-Language", "")
        return response

    return add


def with_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def add(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Request-ID"] = request.headers.get("X-Request-ID", "none")
        return response

    return add


def timing(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def add(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Time"] = str(int(time.monotonic() / STEP))
        return response

    return add


def naming(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def name(request: HttpRequest) -> HttpResponse:
        request.visitor = "one"  # type: ignore[attr-defined]
        return get_response(request)

    return name


STEP = 1.0
"""Seconds between two times that `timing` gives."""


@pytest.fixture(autouse=True)
def below(
    site: Site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Put RepeatedRequests above all other middleware, and more below it. It repeats at once."""
    monkeypatch.setattr(middleware, "APART", 0.0)
    seen.clear()
    settings.SESSION_ENGINE = "beaker_regions.django.sessions"
    settings.MIDDLEWARE = [
        "beaker_regions.django.middleware.RepeatedRequests",
        f"{THIS}.counting",
        *settings.MIDDLEWARE,
    ]
    site.add(lambda request: HttpResponse(), "post/")

    def add(middleware: str) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE[:2], middleware, *settings.MIDDLEWARE[2:]]

    yield add
    seen.clear()


@pytest.fixture(params=[WSGIClient])
def browser(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param(enforce_csrf_checks=True)
    return made


@pytest.fixture
def reader(browser: Client) -> Client:
    """A browser whose session has a name."""
    return named(browser, "one")


def named(browser: Client, name: str) -> Client:
    session = browser.session
    session["name"] = name
    session.save()
    browser.cookies["sessionid"] = session.session_key or ""
    return browser


def by_name(request: HttpRequest) -> Any:
    return request.session.get("name")


def show(site: Site, text: str = FORM, **options: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return site.render(
            request, f"{{{{ name }}}} {{{{ renders }}}} {text}", name=by_name(request)
        )

    site.page(view, **{"vary_by": by_name, "tags": ["name:{vary_by}"], **options})


def repeat(client: Client, times: int = 6, **kwargs: Any) -> list[Any]:
    """Let a browser send equal requests, when it has its CSRF cookie."""
    client.get("/page/", **kwargs)
    return [client.get("/page/", **kwargs) for _ in range(times)]


def is_repeated(client: Client, **kwargs: Any) -> bool:
    """Whether a further equal request is answered without the middleware below."""
    before = len(seen)
    for _ in range(10):  # now and then the cookie is sent, by Django's middleware
        client.get("/page/", **kwargs)
    return len(seen) - before < 10


@pytest.mark.parametrize("browser", [WSGIClient, Client], indirect=True)
def test_an_equal_request_gets_the_page_without_other_middleware(
    site: Site, reader: Client
) -> None:
    show(site)
    pages = repeat(reader)
    assert is_repeated(reader)
    for page in pages:
        assert page.content.startswith(b"one 1 ")
        assert page.status_code == 200
    tokens = [token_in(page.content.decode()) for page in pages]
    assert len(set(tokens)) == len(tokens), "each has another mask"
    assert {post(reader, token) for token in tokens} == {200}
    fields = [dict(page.headers) for page in pages if "Set-Cookie" not in page.headers]
    for each in fields:
        assert int(each.pop("Age")) >= 0
        assert each.pop("Content-Length") == str(len(pages[0].content))
    assert fields[1:] == fields[:-1]


def test_middleware_above_sees_each_request(site: Site, reader: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [f"{THIS}.counting", *settings.MIDDLEWARE]
    show(site)
    seen.clear()
    for number in range(1, 7):
        reader.get("/page/")
        assert seen.count(seen[-1]) in (1, 2), "the one above, and perhaps the one below"
        assert len({id(request) for request in seen}) == number


def test_vary_by_sees_where_the_site_is_mounted(site: Site, reader: Client) -> None:
    show(site, vary_by=lambda request: (reverse("shown"), request.path, request.method))
    site.urlconf.urlpatterns[-1].name = "shown"
    for mount in ("/one", "/two"):
        for _ in range(4):
            reader.get("/page/", SCRIPT_NAME=mount)
        set_script_prefix("/another")
        assert is_repeated(reader, SCRIPT_NAME=mount)


def test_a_request_of_another_browser_gets_its_own_page(
    site: Site, reader: Client, other_browser: Client
) -> None:
    show(site)
    other = named(other_browser, "two")
    for client, name in ((reader, b"one "), (other, b"two "), (Client(), b"None ")) * 5:
        assert client.get("/page/").content.startswith(name)
    assert [is_repeated(client) for client in (reader, other)] == [True, True]
    mine, others = visit(reader), visit(other)
    assert [post(other, token_in(each)) for each in (mine, others)] == [403, 200]


def test_a_visitor_without_a_session_gets_the_page_too(site: Site, browser: Client) -> None:
    site.show(FORM + "{{ renders }}", vary_by=lambda request: by_name(request) or "nobody")
    pages = repeat(browser)
    assert is_repeated(browser)
    assert {post(browser, token_in(page.content.decode())) for page in pages} == {200}
    named(browser, "one")
    assert visit(browser).endswith("2")


def test_an_invalidation_is_seen_by_the_next_equal_request(site: Site, reader: Client) -> None:
    show(site)
    for renders in range(1, 4):
        for page in repeat(reader):
            assert page.content.startswith(b"one %d " % renders)
        site.cache.invalidate_tags("name:one")


def test_a_page_that_another_process_loaded_again_has_its_own_header_fields(
    site: Site, reader: Client, other_browser: Client
) -> None:
    show(site)
    before = repeat(reader)[-1]["ETag"]
    site.cache.invalidate_tags("name:one")
    other_browser.cookies = reader.cookies
    assert visit(other_browser).startswith("one 2 ")
    page = reader.get("/page/")
    assert page.content.startswith(b"one 2 ")
    assert page["ETag"] != before


def test_an_expired_page_is_not_repeated(site: Site, reader: Client, later: Later) -> None:
    show(site, expire=50)
    repeat(reader)
    later(60)
    assert visit(reader).startswith("one 2 ")


def test_a_session_that_changes_or_ends_is_respected_at_once(site: Site, reader: Client) -> None:
    show(site)
    repeat(reader)
    named(reader, "another")
    assert visit(reader).startswith("another ")
    key = reader.cookies["sessionid"].value
    repeat(reader)
    reader.session.delete()
    reader.cookies["sessionid"] = key
    assert visit(reader).startswith("None ")


def test_a_session_that_expires_is_respected_at_once(
    site: Site, reader: Client, later: Later
) -> None:
    show(site)
    session = reader.session
    session.set_expiry(20)
    session.save()
    repeat(reader)
    assert is_repeated(reader)
    later(30)
    assert visit(reader).startswith("None ")


def test_a_message_is_shown_once(site: Site, reader: Client) -> None:
    def say(request: HttpRequest) -> HttpResponse:
        messages.info(request, "Hello")
        return HttpResponse()

    site.templates["messages.html"] = "[{% for each in messages %}{{ each }}{% endfor %}]"
    site.add(say, "say/")
    show(site, '{% hole "messages.html" shows="messages" %}' + FORM)
    for _ in range(3):
        for page in repeat(reader):
            assert b"[]" in page.content
        assert is_repeated(reader)
        reader.get("/say/")
        assert b"[Hello]" in reader.get("/page/").content


def test_a_template_of_a_hole_is_rendered_for_each_request(site: Site, reader: Client) -> None:
    site.templates["hole.html"] = "[{{ request.number }}]"
    show(site, '{% hole "hole.html" %}')
    repeat(reader)
    assert not is_repeated(reader)


@pytest.mark.parametrize("middleware", ["numbering", "signing", "flagging", "baking"])
def test_middleware_that_acts_on_each_answer_is_not_skipped(
    site: Site, reader: Client, below: Callable[[str], None], middleware: str
) -> None:
    below(f"{THIS}.{middleware}")
    show(site)
    pages = repeat(reader)
    assert not is_repeated(reader)
    if middleware == "flagging":
        Group.objects.create(name="flag")
        assert reader.get("/page/")["X-Flag"] == "True"
    elif middleware == "baking":
        assert {page.cookies["visited"].value for page in pages} == {"yes"}
    else:
        answers = {(page.content[-10:], page.headers.get("X-Number")) for page in pages}
        assert len(answers) == len(pages)


class Clock:
    """The monotonic clock, which a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(middleware, "APART", 1.0)
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_header_field_with_the_time_has_the_current_second(
    site: Site, reader: Client, below: Callable[[str], None], clock: Clock
) -> None:
    below(f"{THIS}.timing")
    show(site)
    for _ in range(10):
        assert reader.get("/page/")["X-Time"] == str(int(clock.now))
        clock.now += 0.4


@pytest.mark.parametrize(
    ("step", "times", "expected"),
    [
        (
            1000,
            (1100, 1110, 1119, 1125, 1149, 1500, 1890, 2000),
            "made made again made again made again made",
        ),
        (100_000, (1000, 9000, 12_500, 12_700), "made made again made"),
    ],
    ids=["by its age", "an hour at most"],
)
def test_an_answer_is_repeated_for_as_long_again_as_it_has_stayed_the_same(
    site: Site,
    reader: Client,
    below: Callable[[str], None],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    times: tuple[int, ...],
    expected: str,
) -> None:
    monkeypatch.setattr(f"{THIS}.STEP", step)
    monkeypatch.setattr(placeholders, "RENEWED", 0.0)
    below(f"{THIS}.timing")
    show(site)
    visit(reader)  # it gets its cookies
    repeated = []
    for now in times:
        clock.now, before = now, len(seen)
        page = reader.get("/page/")
        repeated.append("again" if len(seen) == before else "made")
        assert page["X-Time"] == str(int(clock.now / step))
    assert " ".join(repeated) == expected


def test_vary_by_and_tags_may_depend_on_the_day(site: Site, reader: Client, later: Later) -> None:
    day = "Monday"

    def by_day(request: HttpRequest) -> Any:
        return by_name(request), day

    show(site, vary_by=by_day, tags=lambda request: [f"day:{day}"])
    repeat(reader)
    assert is_repeated(reader)
    day = "Tuesday"
    later(1)
    assert visit(reader).startswith("one 2 ")
    day = "Monday"
    later(1)
    assert visit(reader).startswith("one 1 ")


def test_tags_of_today_make_the_page_stale(site: Site, reader: Client, later: Later) -> None:
    day = "Monday"
    show(site, tags=lambda request: [f"day:{day}"])
    repeat(reader)
    day = "Tuesday"
    later(1)
    before = visit(reader)
    site.cache.invalidate_tags("day:Tuesday")
    assert visit(reader)[: len("one 1")] != before[: len("one 1")]


def test_a_page_whose_choice_needs_other_middleware_is_not_repeated(
    site: Site, reader: Client, below: Callable[[str], None]
) -> None:
    below(f"{THIS}.naming")
    show(site, vary_by=lambda request: request.visitor)
    for page in repeat(reader):
        assert page.content.startswith(b"one 1 ")
    assert not is_repeated(reader)


def test_another_header_field_makes_another_request(
    site: Site, reader: Client, below: Callable[[str], None]
) -> None:
    below(f"{THIS}.with_language")
    show(site)
    for language in ("de", "en", "de", "fr") * 3:
        page = reader.get("/page/", headers={"accept-language": language})
        assert page["X-Language"] == language
    assert is_repeated(reader, headers={"accept-language": "de"})


def test_the_name_of_a_request_is_in_no_answer_to_another(
    site: Site, reader: Client, below: Callable[[str], None]
) -> None:
    below(f"{THIS}.with_id")
    show(site)
    repeat(reader, headers={"x-request-id": "first"})
    page = reader.get("/page/", headers={"x-request-id": "second"})
    assert page["X-Request-ID"] == "second"


def test_a_request_of_another_scheme_is_another_one(site: Site, reader: Client) -> None:
    show(site, "{{ request.scheme }}")
    repeat(reader)
    # Some servers are told the scheme by the connection alone.
    page = reader.get("/page/", **{"wsgi.url_scheme": "https"})  # type: ignore[arg-type]
    assert b"https" in page.content


@pytest.mark.parametrize(("tags", "field"), [(0, 40_000), (330, 10)], ids=["fields", "tags"])
def test_many_large_requests_do_not_fill_the_memory(
    site: Site, reader: Client, monkeypatch: pytest.MonkeyPatch, tags: int, field: int
) -> None:
    monkeypatch.setattr(middleware, "MOST_BYTES", 1 << 20, raising=False)

    def tags_of(request: HttpRequest) -> list[str]:
        return [f"a{number}" for number in range(tags)]

    site.show("", vary_by=by_name, tags=tags_of)
    repeat(reader)

    def in_use() -> int:
        seen.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = in_use()
        for number in range(150):
            reader.get("/page/", headers={"x-any": f"{number} " + field * "x"})
        assert in_use() - before < 3 << 19
    finally:
        tracemalloc.stop()
    repeat(reader)
    assert is_repeated(reader)


def test_a_header_field_whose_name_has_a_dot_makes_another_request(
    site: Site, browser: Client
) -> None:
    site.show("{{ renders }}", vary_by=lambda request: request.META["HTTP_X.NAME"])
    pages = {
        name: {
            browser.get("/page/", **{"HTTP_X.NAME": name}).content  # type: ignore[arg-type]
            for _ in range(4)
        }
        for name in ("one", "two")
    }
    assert pages["one"] != pages["two"]


def test_a_page_that_is_too_large_to_be_remembered_is_compressed_as_ever(
    site: Site, reader: Client, below: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    below("django.middleware.gzip.GZipMiddleware")
    monkeypatch.setattr(middleware, "MOST_BYTES", 1 << 20)
    show(site, FORM + random.randbytes(70_000).hex())
    for page in repeat(reader, headers={"accept-encoding": "gzip"}):
        assert gzip.decompress(page.content).startswith(b"one 1 ")
    assert not is_repeated(reader, headers={"accept-encoding": "gzip"})


def test_a_user_who_was_loaded_is_loaded_each_time(site: Site, reader: Client) -> None:
    user = User.objects.create_user("reader")
    reader.force_login(user)
    show(site, vary_by="user", tags=["user:{vary_by}"])
    repeat(reader)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert not is_repeated(reader)


@pytest.mark.parametrize("store", ["db", "signed_cookies"])
def test_sessions_of_another_store_are_not_trusted(
    site: Site, browser: Client, settings: Any, store: str
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{store}"
    reader = named(browser, "one")
    show(site)
    repeat(reader)
    assert not is_repeated(reader)


@pytest.mark.parametrize("browser", [WSGIClient, Client], indirect=True)
def test_the_csrf_cookie_is_renewed(
    site: Site, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(site)
    repeat(reader)
    drawn = iter([0.0])
    monkeypatch.setattr(random, "random", lambda: next(drawn, 1.0))
    assert "csrftoken" in reader.get("/page/").cookies
    assert "csrftoken" not in reader.get("/page/").cookies


def test_nothing_is_repeated_under_asgi(site: Site) -> None:
    show(site)
    browser = AsyncClient()

    async def ask() -> list[int]:
        return [(await browser.get("/page/")).status_code for _ in range(4)]

    # The middleware below is synchronous, so that Django makes this one synchronous, too.
    assert asyncio.run(ask()) == [200] * 4
    assert len(seen) == 4


def test_nothing_is_repeated_where_regions_are_bypassed(site: Site, reader: Client) -> None:
    show(site)
    repeat(reader)
    with site.cache.bypassed():
        assert visit(reader).startswith("one 2 ")
    site.cache["functions"].enabled = False
    assert visit(reader).startswith("one 3 ")


def test_a_browsers_copy_is_still_current(site: Site, reader: Client) -> None:
    show(site)
    tag = repeat(reader)[-1]["ETag"]
    for page in repeat(reader, headers={"if-none-match": tag}):
        assert (page.status_code, page.content, page["ETag"]) == (304, b"", tag)
    assert is_repeated(reader, headers={"if-none-match": tag})
    site.cache.invalidate_tags("name:one")
    assert reader.get("/page/", headers={"if-none-match": tag}).status_code == 200


def test_a_compressed_page_is_not_compressed_again(
    site: Site, reader: Client, below: Callable[[str], None]
) -> None:
    below("django.middleware.gzip.GZipMiddleware")
    site.templates["messages.html"] = "[{% for each in messages %}{{ each }}{% endfor %}]"
    text = '{% hole "messages.html" shows="messages" %}{% page_origin %}'
    show(site, (FORM + "some text of a form that repeats, ä, ") * 60 + text)
    headers = {"accept-encoding": "gzip"}
    pages = repeat(reader, headers=headers)
    assert is_repeated(reader, headers=headers)
    texts = [gzip.decompress(page.content).decode() for page in pages]
    tokens = [token_in(text) for text in texts]
    assert len(set(tokens)) == len(tokens)
    assert {post(reader, token) for token in tokens} == {200}
    same = {
        text.replace(token, "").partition("<details")[0]
        for text, token in zip(texts, tokens, strict=True)
    }
    assert len(same) == 1
    for page in pages:
        assert page["Content-Length"] == str(len(page.content))
    assert len({len(page.content) for page in pages}) > 1, "their lengths say little"
    plain = reader.get("/page/")
    assert plain.content.startswith(b"one 1 ")


def test_an_address_may_have_any_letters(site: Site, reader: Client) -> None:
    def view(request: HttpRequest, name: str) -> HttpResponse:
        return HttpResponse(f"{by_name(request)} {name} {request.path}")

    site.page(view, "page/<str:name>/", vary_by=lambda request: (by_name(request), request.path))
    for name in ("Ärger", "Ã\x84rger", "список"):

        def is_right_and_repeated(name: str = name) -> bool:
            before = len(seen)
            page = reader.get(f"/page/{quote(name)}/")
            assert page.content.decode() == f"one {name} /page/{name}/"
            return len(seen) == before

        until(is_right_and_repeated, "it is not repeated")
