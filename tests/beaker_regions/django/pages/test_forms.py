"""Pages with forms and other placeholders: stored once, and filled for each request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import CSRF_ALLOWED_CHARS, get_token, rotate_token
from django.test import Client, RequestFactory
from django.views.decorators.gzip import gzip_page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beaker_regions.django import hole, region_page
from tests.beaker_regions.django.pages.conftest import Site

if TYPE_CHECKING:
    from django.http import HttpRequest

on_files = pytest.mark.parametrize("manager", ["file_manager"], indirect=True)

FORM = "<form>{% csrf_token %}</form>"
TOKEN = re.compile("[a-zA-Z0-9]{64}")


def token_in(text: str) -> str:
    tokens: set[str] = set(TOKEN.findall(text))
    assert len(tokens) == 1, text
    return tokens.pop()


def visit(client: Client, url: str = "/page/", **kwargs: Any) -> str:
    content: bytes = client.get(url, **kwargs).content
    return content.decode()


def post(client: Client, token: str) -> int:
    return client.post("/post/", {"csrfmiddlewaretoken": token}).status_code


@pytest.fixture
def forms(site: Site) -> Site:
    """A site whose pages accept POST requests."""
    site.add(lambda request: HttpResponse(), "post/")
    return site


WAYS = {
    "csrf_token": FORM + "{{ renders }}",
    "a variable": "<a data-token={{ csrf_token }}></a>{% csrf_token %}{{ renders }}",
    "between letters": "x{{ csrf_token }}y {{ renders }}",
    "in a hole": '{% hole "form.html" %}{{ renders }}',
    "in an included template": '{% include "form.html" %}{{ renders }}',
}


@pytest.mark.parametrize("way", WAYS)
def test_each_browser_gets_its_own_token(
    forms: Site, browser: Client, other_browser: Client, way: str
) -> None:
    forms.templates["form.html"] = FORM
    forms.show(WAYS[way])
    pages = [visit(client) for client in (browser, other_browser, browser, other_browser)]
    assert {page[-1] for page in pages} == {"1"}, "one rendering for all browsers"
    if way == "between letters":
        tokens = [page[1:65] for page in pages]
    else:
        tokens = [token_in(page) for page in pages]
    assert len(set(tokens)) == 4, "each has another mask"
    assert [post(browser, tokens[0]), post(browser, tokens[2])] == [200, 200]
    assert [post(other_browser, tokens[1]), post(other_browser, tokens[3])] == [200, 200]
    assert [post(browser, tokens[1]), post(other_browser, tokens[0])] == [403, 403]


def test_a_token_from_the_view(forms: Site, browser: Client, other_browser: Client) -> None:
    forms.page(lambda request: JsonResponse({"token": get_token(request), "n": forms.renders()}))
    for client in (browser, other_browser, browser):
        given = client.get("/page/").json()
        assert post(client, given["token"]) == 200
        assert given["n"] == 1


def in_a_header(request: HttpRequest) -> HttpResponse:
    token = get_token(request)
    return HttpResponse(token, headers={"X-Token": token})


WHERE: dict[str, Callable[[Any], Any]] = {
    "compressed": gzip_page(lambda request: HttpResponse(get_token(request) + "!" * 500)),
    "backwards": lambda request: HttpResponse(get_token(request)[::-1]),
    "in another alphabet": lambda request: HttpResponse(
        get_token(request), content_type="text/plain; charset=utf-16"
    ),
    "in a header": in_a_header,
    "in a stream": lambda request: StreamingHttpResponse([get_token(request)]),
    "nowhere": lambda request: HttpResponse(get_token(request) and "none"),
}


@on_files
@pytest.mark.parametrize("where", WHERE)
def test_a_page_with_an_encoded_token_is_right_and_not_stored(
    forms: Site, browser: Client, where: str
) -> None:
    def view(request: HttpRequest) -> Any:
        forms.renders()
        request.META["HTTP_ACCEPT_ENCODING"] = "gzip"
        return WHERE[where](request)

    forms.page(view)
    forms.add(lambda request: HttpResponse(get_token(request)), "token/")
    for _ in range(2):
        before = forms.renders.count
        response = browser.get("/page/")
        assert forms.renders.count > before, "not stored"
        assert response.cookies["csrftoken"].value == browser.cookies["csrftoken"].value
        if where in ("backwards", "in another alphabet", "in a header", "in a stream"):
            text = response.getvalue().decode(response.charset)
            assert post(browser, text[::-1] if where == "backwards" else text) == 200
        if where == "in a header":
            assert post(browser, response["X-Token"]) == 200


@on_files
def test_a_view_that_changes_the_secret(forms: Site, browser: Client) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        before = get_token(request)
        rotate_token(request)
        return HttpResponse(f"{before} {get_token(request)} {forms.renders()}")

    forms.page(view)
    for renders in ("1", "2"):
        first, second, rendered = visit(browser).split()
        assert rendered == renders
        assert [post(browser, first), post(browser, second)] == [200, 200]


@on_files
def test_a_secret_in_the_session(forms: Site, browser: Client, settings: Any) -> None:
    settings.CSRF_USE_SESSIONS = True
    forms.show(FORM + "{{ renders }}", vary_by=lambda request: 7)
    for _ in range(2):
        page = visit(browser)
        assert page[-1] == "1"
        assert post(browser, token_in(page)) == 200


def test_a_login_changes_the_token_and_the_etag(forms: Site, browser: Client) -> None:
    user = User.objects.create(username="ann")

    def enter(request: HttpRequest) -> HttpResponse:
        login(request, user)
        return HttpResponse()

    forms.add(enter, "login/")
    forms.show(FORM + "{{ renders }}")
    first = browser.get("/page/")
    known = {"if-none-match": first["ETag"]}
    assert browser.get("/page/", headers=known).status_code == 304
    browser.get("/login/")
    again = browser.get("/page/", headers=known)
    assert again.status_code == 200
    assert again.content.endswith(b"1")
    assert post(browser, token_in(first.content.decode())) == 403
    assert post(browser, token_in(again.content.decode())) == 200


def test_messages_are_shown_once_and_to_one_visitor(
    forms: Site, browser: Client, other_browser: Client
) -> None:
    def say(request: HttpRequest) -> HttpResponse:
        messages.success(request, f"<{request.GET['word']}>")
        return HttpResponse()

    forms.add(say, "say/")
    forms.templates["messages.html"] = "{% for message in messages %}[{{ message }}]{% endfor %}"
    forms.show('{% hole "messages.html" %} {{ renders }}')
    assert visit(browser) == " 1"
    browser.get("/say/?word=one")
    browser.get("/say/?word=two")
    known = {"if-none-match": other_browser.get("/page/")["ETag"]}
    assert other_browser.get("/page/", headers=known).status_code == 304
    pending = browser.get("/page/", headers=known)
    assert (pending.status_code, pending.content) == (200, b"[&lt;one&gt;][&lt;two&gt;] 1")
    assert visit(browser) == " 1"
    assert browser.get("/page/", headers=known).status_code == 304
    assert browser.get("/page/", headers={"if-none-match": pending["ETag"]}).status_code == 200


def test_a_users_menu_as_a_hole(forms: Site, browser: Client, other_browser: Client) -> None:
    user = User.objects.create(username="ann")

    def enter(request: HttpRequest) -> HttpResponse:
        login(request, user)
        return HttpResponse()

    def leave(request: HttpRequest) -> HttpResponse:
        logout(request)
        return HttpResponse()

    forms.add(enter, "login/")
    forms.add(leave, "logout/")
    forms.templates["menu.html"] = (
        "{% if user.is_authenticated %}{{ user.username }}<form>{% csrf_token %}</form>"
        "{% else %}Log in{% endif %}"
    )
    forms.show('{% hole "menu.html" %}|{{ renders }}')

    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(f"{hole(request, 'menu.html')}|{forms.renders()}")
        response["Content-Length"] = len(response.content)
        return response

    forms.page(view, "view/")
    for url, renders in (("/page/", 1), ("/view/", 2)):
        assert visit(browser, url) == f"Log in|{renders}"
        browser.get("/login/")
        response = browser.get(url)
        page = response.content.decode()
        assert page.startswith("ann<form>")
        assert int(response["Content-Length"]) == len(response.content)
        assert page.endswith(f"|{renders}")
        assert post(browser, token_in(page)) == 200
        assert "Cookie" in response["Vary"]
        assert "private" in response["Cache-Control"]
        assert browser.get(url, headers={"if-none-match": response["ETag"]}).status_code == 304
        assert visit(other_browser, url) == f"Log in|{renders}"
        browser.get("/logout/")


def test_a_hole_in_an_unstored_page_is_filled_at_once(site: Site, browser: Client) -> None:
    site.templates["name.html"] = "{{ request.GET.name }}"
    site.add(lambda request: site.render(request, '<{% hole "name.html" %}>'))
    site.page(
        lambda request: site.render(request, '<{% hole "name.html" %}>{{ user }}'), "unstored/"
    )
    assert visit(browser, "/page/?name=&") == "<>"
    assert visit(browser, "/page/?name=ann") == "<ann>"
    assert visit(browser, "/unstored/?name=ann") == "<ann>AnonymousUser"


texts = st.one_of(
    st.text(max_size=20),
    st.text(CSRF_ALLOWED_CHARS, min_size=60, max_size=70),
    st.text(CSRF_ALLOWED_CHARS, min_size=32, max_size=32).map(lambda half: half * 2),
    st.from_regex(r"hole[0-9a-f]{32}n[0-9]x", fullmatch=True),
    st.just("{% csrf_token %}"),
)


@on_files
def test_a_filled_page_equals_the_response_of_the_view(site: Site) -> None:
    """Byte for byte except for the mask; also with texts that look like tokens and marks, and with
    tokens and marks of an earlier rendering."""
    site.templates["name.html"] = "<b>{{ request.GET.name }}</b>{% csrf_token %}"
    parts: list[Any] = []
    marks: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        made = []
        for part in parts:
            if part == "token":
                made.append(get_token(request))
            elif part == "hole":
                made.append(hole(request, "name.html"))
                if made[-1].startswith("hole"):
                    marks.append(made[-1])
            else:
                made.append(part[1])
        return HttpResponse("".join(made))

    kept = region_page(site.cache["functions"], tags=["page"])(view)
    factory = RequestFactory()
    secret = "s3cret" * 5 + "xy"
    earlier: list[str] = [""]

    @settings(
        max_examples=80,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(
            st.one_of(
                st.just("token"),
                st.just("hole"),
                st.tuples(st.just("text"), texts),
                st.tuples(st.just("earlier"), st.integers(0, 200)),
                st.tuples(st.just("mark"), st.integers(0, 9)),
            ),
            max_size=8,
        )
    )
    def check(wanted: list[Any]) -> None:
        known = {"earlier": [earlier[0][at:] for at in range(201)], "mark": [*marks[-10:], ""]}
        parts[:] = [
            ("text", known[part[0]][part[1] % len(known[part[0]])]) if part[0] in known else part
            for part in wanted
        ]
        site.cache.invalidate_tags("page")
        answers = []
        for respond in (view, kept, kept):
            request = factory.get("/page/?name=ann")
            request.META["CSRF_COOKIE"] = secret
            response = respond(request)
            answers.append(unmasked(response.content.decode(), secret))
        assert answers[0] == answers[1] == answers[2]
        earlier[0] = response.content.decode()[:300]

    check()


def unmasked(text: str, secret: str) -> str:
    """Return a text with each token of ``secret`` replaced by the secret."""
    characters, out, at = CSRF_ALLOWED_CHARS, [], 0
    while at < len(text):
        token = text[at : at + 64]
        if len(token) == 64 and TOKEN.fullmatch(token):
            plain = "".join(
                characters[characters.index(c) - characters.index(m)]
                for m, c in zip(token[:32], token[32:], strict=True)
            )
            if plain == secret:
                out.append("<the token>")
                at += 64
                continue
        out.append(text[at])
        at += 1
    return "".join(out)
