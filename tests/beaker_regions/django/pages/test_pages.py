"""Pages in a region: which visitor gets which page, and which pages are never stored."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views.generic import TemplateView

from beaker_regions import ConfigurationError, UnkeyableArgumentError
from beaker_regions.django import region_page
from tests.beaker_regions.conftest import Manager, make_manager
from tests.beaker_regions.django.pages.conftest import Site

if TYPE_CHECKING:
    from django.http import HttpRequest

    from tests.servers import Memcached


on_files = pytest.mark.parametrize("manager", ["file_manager"], indirect=True)
"""For tests whose result does not depend on the store."""


def body(client: Client, url: str = "/page/", **kwargs: Any) -> str:
    return client.get(url, **kwargs).content.decode()


def test_a_page_is_rendered_once_for_each_url(site: Site, browser: Client) -> None:
    source = "{{ request.get_full_path }} {{ renders }}"
    site.show(source, "<slug:name>/", tags=["page:{name}"], params=("a", "b"))
    assert body(browser, "/one/") == body(browser, "/one/") == "/one/ 1"
    assert body(browser, "/one/?a=1&b=2") == "/one/?a=1&amp;b=2 2"
    assert body(browser, "/one/?b=2&a=1") == "/one/?b=2&amp;a=1 3"
    assert body(browser, "/two/") == "/two/ 4"
    assert body(browser, "/one/", headers={"host": "127.0.0.1"}) == "/one/ 5"
    assert body(browser, "/one/", secure=True) == "/one/ 6"
    assert body(browser, "/one/?a=1&b=2") == "/one/?a=1&amp;b=2 2"
    site.cache.invalidate_tags("page:one")
    assert body(browser, "/one/") == "/one/ 7"
    assert body(browser, "/two/") == "/two/ 4"


@on_files
@pytest.mark.parametrize("query", ["x=1", "a=1&x=1", "a=1&a=2", "a=1&b=2&x=", "x", "A=1"])
def test_a_request_with_an_unlisted_parameter_is_not_stored(
    site: Site, browser: Client, query: str
) -> None:
    site.show("{{ request.get_full_path }} {{ renders }}", params=["a", "b"])
    for renders in (1, 2):
        shown = f"/page/?{query} {renders}".replace("&", "&amp;")
        assert body(browser, f"/page/?{query}") == shown
    assert [body(browser), body(browser)] == ["/page/ 3", "/page/ 3"]


@on_files
def test_two_encodings_of_a_parameter_are_one_page(site: Site, browser: Client) -> None:
    site.show("{{ request.GET.a }} {{ renders }}", params=["a", "b"])
    assert {body(browser, f"/page/?a={text}") for text in ("x%20y", "x+y", "%78+y", "x+y&")} == {
        "x y 1"
    }


@on_files
def test_arguments_from_another_view_are_part_of_the_key(site: Site, browser: Client) -> None:
    @region_page(site.cache["functions"])
    def shown(request: HttpRequest, owner: int, name: str = "") -> HttpResponse:
        return HttpResponse(f"{owner}{name} {site.renders()}")

    site.add(lambda request, name: shown(request, int(request.headers["X-Owner"])), "a/<name>/")
    site.add(shown, "b/<int:owner>/", {"name": "b"})
    for _ in range(2):
        for owner, seen in [("1", "1 1"), ("2", "2 2")]:
            assert body(browser, "/a/x/", headers={"x-owner": owner}) == seen
    assert [body(browser, "/b/7/"), body(browser, "/b/7/")] == ["7b 3", "7b 3"]


def test_a_post_always_runs_the_view(site: Site, browser: Client) -> None:
    site.show("{{ request.method }} {{ renders }}")
    browser.handler.enforce_csrf_checks = False
    assert body(browser) == "GET 1"
    assert [browser.post("/page/").content, browser.post("/page/").content] == [
        b"POST 2",
        b"POST 3",
    ]
    assert browser.put("/page/").content == b"PUT 4"
    assert body(browser) == "GET 1"


def test_a_head_has_the_headers_of_the_stored_page(site: Site, browser: Client) -> None:
    site.show("{{ request.method }} {{ renders }}")
    browser.head("/page/")
    assert body(browser) == "GET 2", "the response to a HEAD is not stored"
    head, get = browser.head("/page/"), browser.get("/page/")
    assert (head.headers, head.content) == (get.headers, b"")
    assert head["Content-Length"] == "5"


def sets_a_cookie(request: HttpRequest) -> HttpResponse:
    response = HttpResponse()
    response.set_cookie("seen", "yes")
    return response


def changes_the_session(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = True
    return HttpResponse()


def adds_a_message(request: HttpRequest) -> HttpResponse:
    messages.info(request, "seen")
    return HttpResponse()


def looks_at_the_user(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.is_authenticated)


def not_found(request: HttpRequest) -> HttpResponse:
    raise Http404


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def with_cache_control(value: str, request: HttpRequest) -> HttpResponse:
    return HttpResponse(headers={"Cache-Control": value})


NEVER: dict[str, Callable[[Any], Any]] = {
    "a page that is not there": not_found,
    "a page that is forbidden": forbidden,
    "an error": lambda request: HttpResponse(status=500),
    "a redirect": lambda request: HttpResponse(status=302, headers={"Location": "/"}),
    "a cookie": sets_a_cookie,
    "a change of the session": changes_the_session,
    "a message": adds_a_message,
    "a stream": lambda request: StreamingHttpResponse([b"a", b"b"]),
    "a nonce": lambda request: HttpResponse(
        headers={"Content-Security-Policy": "script-src 'nonce-abc'"}
    ),
    **{
        f"Cache-Control: {value}": partial(with_cache_control, value)
        for value in (
            "private",
            "no-store",
            "public, no-cache",
            'private="X-Name"',
            "Max-Age=0",
            "public, s-maxage=0, max-age=9",
        )
    },
    "Vary: *": lambda request: HttpResponse(headers={"Vary": "Accept, *"}),
}
"""Views whose pages are never stored."""

OF_ONE: dict[str, Callable[[Any], Any]] = {
    "the user": looks_at_the_user,
    "the session": lambda request: HttpResponse(request.session.get("name")),
    "a cookie": lambda request: HttpResponse(request.COOKIES.get("name")),
    "all cookies": lambda request: JsonResponse(dict(request.COOKIES)),
    "Vary: Cookie": lambda request: HttpResponse(headers={"Vary": "Accept, cookie"}),
}
"""Views whose pages are stored only with a ``vary_by``."""


@on_files
@pytest.mark.parametrize("vary_by", [None, "session"])
@pytest.mark.parametrize("name", NEVER)
def test_views_that_are_never_stored(
    site: Site, browser: Client, name: str, vary_by: str | None
) -> None:
    def view(request: HttpRequest) -> Any:
        site.renders()
        return NEVER[name](request)

    site.page(view, vary_by=vary_by)
    site.add(NEVER[name], "plain/")
    first, plain = browser.get("/page/"), browser.get("/plain/")
    assert first.status_code == plain.status_code
    assert first.get("Cache-Control") == plain.get("Cache-Control")
    browser.get("/page/")
    assert site.renders.count == 2


@on_files
@pytest.mark.parametrize("name", OF_ONE)
def test_views_that_are_stored_only_with_vary_by(site: Site, browser: Client, name: str) -> None:
    def view(request: HttpRequest) -> Any:
        site.renders()
        return OF_ONE[name](request)

    site.page(view)
    site.page(view, "keyed/", vary_by=lambda request: 7)
    for _ in range(2):
        browser.get("/page/")
    assert site.renders.count == 2
    for _ in range(2):
        response = browser.get("/keyed/")
    assert site.renders.count == 3
    assert "private" in response["Cache-Control"]
    assert "cookie" in response["Vary"].lower()


OF_NOBODY: dict[str, Callable[[Any], Any]] = {
    "the session": lambda request: HttpResponse(request.session.get("name", "none")),
    "a cookie": lambda request: HttpResponse(request.COOKIES.get("name", "none")),
    "a user of another login method": lambda request: HttpResponse(
        request.headers.get("Authorization", "none")
    ),
}


@on_files
@pytest.mark.parametrize("name", OF_NOBODY)
def test_anonymous_visitors_of_a_page_that_varies_by_user(
    site: Site, browser: Client, other_browser: Client, name: str
) -> None:
    """Each visitor sees the data of their own session, and no other visitor's."""

    def view(request: HttpRequest) -> Any:
        site.renders()
        return OF_NOBODY[name](request)

    def write(request: HttpRequest) -> HttpResponse:
        request.session["name"] = "ann"
        response = HttpResponse()
        response.set_cookie("name", "ann")
        return response

    site.page(view, vary_by="user")
    site.add(write, "write/")
    assert body(other_browser) == body(other_browser) == "none"
    browser.get("/write/")
    for _ in range(2):
        assert body(browser, headers={"authorization": "ann"}) == "ann"
        assert body(other_browser) == "none"


@on_files
def test_a_page_of_a_user_is_not_shared_if_vary_by_returns_none(
    site: Site, browser: Client, other_browser: Client
) -> None:
    users = [User.objects.create(username=name) for name in ("ann", "bob")]
    site.page(
        lambda request: HttpResponse(f"{request.user.username} {site.renders()}"),
        vary_by=lambda request: None if request.user.is_authenticated else 0,
    )
    for client, user in zip((browser, other_browser), users, strict=True):
        client.force_login(user)
        assert body(client).startswith(user.username)


@on_files
def test_each_user_and_all_anonymous_visitors_have_a_page(
    site: Site, browser: Client, other_browser: Client
) -> None:
    site.page(lambda request: HttpResponse(f"{request.user} {site.renders()}"), vary_by="user")
    browser.force_login(User.objects.create(username="ann"))
    for _ in range(2):
        assert body(browser) == "ann 1"
        assert body(other_browser) == "AnonymousUser 2"


@on_files
@pytest.mark.parametrize("change", ["is_active", "row"])
def test_a_user_who_may_not_log_in_shares_no_page(
    site: Site, browser: Client, other_browser: Client, change: str
) -> None:
    user = User.objects.create_user("ann", password="secret of the tests")
    tag = f"user:{user.pk}"
    site.page(
        lambda request: HttpResponse(f"{request.user} {request.session.get('list')}"),
        vary_by=lambda request: request.session.get("_auth_user_id"),
        tags=["user:{vary_by}"],
    )

    def write(request: HttpRequest) -> HttpResponse:
        request.session["list"] = request.GET["list"]
        return HttpResponse()

    site.add(write, "write/")
    for client in (browser, other_browser):
        client.force_login(user)
        assert body(client) == "ann None"
    if change == "row":
        user.delete()
    else:
        User.objects.update(is_active=False)
    site.cache.invalidate_tags(tag)
    browser.get("/write/?list=mine")
    assert body(browser) == "AnonymousUser mine"
    assert body(other_browser) == "AnonymousUser None"
    browser.get("/write/?list=new")
    assert body(browser) == "AnonymousUser new"


@on_files
def test_a_user_who_is_changed_before_the_page_is_rendered(site: Site, browser: Client) -> None:
    user = User.objects.create(username="ann", first_name="old")
    changes = ["new"]

    def by(request: HttpRequest) -> Any:
        found = request.user.pk
        if changes:
            User.objects.update(first_name=changes.pop())
            site.cache.invalidate_tags(f"user:{found}")
        return found

    site.page(
        lambda request: HttpResponse(request.user.first_name), vary_by=by, tags=["user:{vary_by}"]
    )
    browser.force_login(user)
    body(browser)
    assert body(browser) == "new"


def test_a_page_with_messages_is_not_stored(site: Site, browser: Client) -> None:
    site.show("{% for message in messages %}{{ message }}{% endfor %}{{ renders }}", vary_by="user")
    assert [body(browser), body(browser)] == ["1", "2"]


def test_a_request_with_credentials_gets_a_page_of_its_own(site: Site, browser: Client) -> None:
    site.show("{{ request.headers.authorization }} {{ renders }}")
    site.show(
        "{{ request.headers.authorization }} {{ renders }}",
        "keyed/",
        vary_by=lambda request: request.headers.get("Authorization"),
    )
    for renders, name in enumerate(["ann", "bob", "ann"], 1):
        assert body(browser, headers={"authorization": name}) == f"{name} {renders}"
    assert body(browser) == " 4"
    for renders, name in [(5, "ann"), (6, "bob"), (5, "ann")]:
        assert body(browser, "/keyed/", headers={"authorization": name}) == f"{name} {renders}"


def test_an_uncacheable_answer_is_not_given_to_waiting_requests(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        time.sleep(0.05)
        response = HttpResponse(request.headers["X-Name"])
        response.set_cookie("name", request.headers["X-Name"])
        return response

    site.page(view)
    answers: dict[str, tuple[str, str]] = {}

    def visit(name: str) -> None:
        response = Client().get("/page/", headers={"x-name": name})
        answers[name] = (response.content.decode(), response.cookies["name"].value)

    together(*(lambda name=name: visit(name) for name in "abcdefgh"))
    assert answers == {name: (name, name) for name in "abcdefgh"}


def test_simultaneous_requests_wait_for_one_rendering(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        time.sleep(0.2)
        return site.render(request, "<form>{% csrf_token %}</form>{{ renders }}")

    site.page(view)
    seen: list[str] = []
    together(*(lambda: seen.append(body(Client())[-1]) for _ in range(8)))
    assert seen == ["1"] * 8


def together(*calls: Any) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_pages_by_session(
    site: Site, browser: Client, other_browser: Client, settings: Any
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"

    def write(request: HttpRequest) -> HttpResponse:
        request.session["name"] = request.GET["name"]
        return HttpResponse()

    site.add(write, "write/")
    site.show("{{ request.session.name }} {{ renders }}", vary_by="session")
    browser.get("/write/?name=ann")
    other_browser.get("/write/?name=bob")
    assert [body(browser), body(other_browser)] == ["ann 1", "bob 2"]
    assert [body(browser), body(other_browser)] == ["ann 1", "bob 2"]
    browser.get("/write/?name=eve")
    assert [body(browser), body(other_browser)] == ["eve 3", "bob 2"]
    Session.objects.all().delete()
    assert [body(browser), body(other_browser)] == [" 4", " 4"], "these sessions have expired"


@on_files
def test_a_vary_by_value_that_cannot_be_a_key_is_an_error(site: Site, browser: Client) -> None:
    site.show("", vary_by=lambda request: object())
    with pytest.raises(UnkeyableArgumentError, match="vary_by="):
        browser.get("/page/")


def test_a_page_for_each_value_of_the_header_fields_it_varies_on(
    site: Site, browser: Client
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        language = request.headers.get("Accept-Language", "")
        theme = request.headers.get("X-Theme", "")
        response = HttpResponse(f"{language} {theme} {site.renders()}".encode())
        patch_vary_headers(response, ["Accept-Language"])
        if language == "de":
            patch_vary_headers(response, ["X-Theme"])
        return response

    site.page(view, tags=["greeting"])

    def seen() -> list[str]:
        return [
            body(browser, headers=each)
            for each in (
                {"accept-language": "en"},
                {"accept-language": "de"},
                {"accept-language": "de", "x-theme": "dark"},
                {"accept-language": "en", "x-theme": "dark"},
                {},
            )
        ]

    assert seen() == seen() == ["en  1", "de  2", "de dark 3", "en  1", "  4"]
    site.cache.invalidate_tags("greeting")
    assert seen() == seen() == ["en  5", "de  6", "de dark 7", "en  5", "  8"]


def test_a_page_for_each_language(site: Site, browser: Client) -> None:
    site.show("{{ renders }}")
    assert body(browser) == "1"
    with translation.override("de"):
        assert body(browser) == "2"
    assert body(browser) == "1"


def test_tags_are_filled_or_an_error(site: Site, browser: Client) -> None:
    site.show(
        "{{ renders }}",
        "by/<slug:name>/",
        vary_by=lambda request: 7,
        tags=["list:{vary_by}:{name}"],
    )
    site.show(
        "{{ renders }}", "made/<slug:name>/", tags=lambda request, name: [f"{request.path}{name}"]
    )
    site.show("", "wrong/<slug:name>/", tags=["list:{nmae}"])
    assert [body(browser, "/by/a/"), body(browser, "/made/a/")] == ["1", "2"]
    site.cache.invalidate_tags("list:7:a", "/made/a/a")
    assert [body(browser, "/by/a/"), body(browser, "/made/a/")] == ["3", "4"]
    with pytest.raises(ConfigurationError, match=r"nmae.*name"):
        browser.get("/wrong/a/")


@on_files
@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"vary_by": "usr"}, "user"),
        ({"by": "user"}, "vary_by"),
        ({"tag": ["a"]}, "tags"),
        ({"expire": 0}, "seconds"),
        ({"tags": "a"}, "list"),
    ],
)
def test_wrong_options_are_an_error_at_once(site: Site, options: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        region_page(site.cache["functions"], **options)


class Page(TemplateView):
    template_name = "page.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"renders": kwargs["site"].renders()}


@pytest.mark.parametrize("way", ["view", "method", "class"])
def test_views_that_are_classes(site: Site, browser: Client, way: str) -> None:
    site.templates["page.html"] = "<form>{% csrf_token %}</form> {{ renders }}"
    decorator = region_page(site.cache["functions"], tags=["page"])
    if way == "view":
        view = decorator(Page.as_view())
    else:

        class Kept(Page):
            def get(self, *args: Any, **kwargs: Any) -> Any:
                return super().get(*args, **kwargs)

        name = {"method": "get", "class": "dispatch"}[way]
        view = method_decorator(decorator, name=name)(Kept).as_view()
    site.add(view, "page/", {"site": site})
    assert [body(browser)[-1], body(browser)[-1]] == ["1", "1"]
    site.cache.invalidate_tags("page")
    assert body(browser)[-1] == "2"


@on_files
@pytest.mark.parametrize("way", ["view", "class"])
def test_two_classes_at_one_url_have_different_pages(
    site: Site, browser: Client, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.templates.update({"page.html": "page {{ renders }}", "other.html": "other {{ renders }}"})

    class Kept(Page):
        pass

    class Other(Page):
        template_name = "other.html"

    decorator = region_page(site.cache["functions"])
    views = [
        decorator(each.as_view())
        if way == "view"
        else method_decorator(decorator, name="dispatch")(each).as_view()
        for each in (Kept, Other)
    ]
    monkeypatch.setattr(Page, "get_context_data", lambda _: {"renders": site.renders()})
    chosen = [0]
    site.add(lambda request: views[chosen[0]](request))
    assert [body(browser), body(browser)] == ["page 1", "page 1"]
    chosen[0] = 1
    assert [body(browser), body(browser)] == ["other 2", "other 2"]


def test_coroutine_views(site: Site) -> None:
    async def view(request: HttpRequest, name: str) -> HttpResponse:
        await asyncio.sleep(0.1)
        return site.render(request, "<form>{% csrf_token %}</form>{{ name }} {{ renders }}")

    async def private(request: HttpRequest) -> HttpResponse:
        raise Http404

    site.page(view, "<slug:name>/page/", tags=["page:{name}"])
    site.page(private, "none/")

    async def main() -> None:
        client = AsyncClient()
        first = await asyncio.gather(*(client.get("/a/page/") for _ in range(5)))
        assert {response.content[-1:] for response in first} == {b"1"}
        await asyncio.to_thread(site.cache.invalidate_tags, "page:a")
        again = await client.get("/a/page/")
        assert again.content.endswith(b"2")
        same = await client.get("/a/page/", headers={"if-none-match": again["ETag"]})
        assert client.cookies["csrftoken"].value
        assert same.status_code == 304
        assert (await client.get("/none/")).status_code == 404
        assert (await client.head("/a/page/")).content == b""

    asyncio.run(main())


@on_files
def test_without_its_server_pages_are_served(
    own_memcached: Memcached, site: Site, browser: Client
) -> None:
    site.cache = make_manager(type="ext:memcached", url=own_memcached.address, secret="s")
    site.show("<form>{% csrf_token %}</form>{{ renders }}")
    assert [body(browser)[-1], body(browser)[-1]] == ["1", "1"]
    own_memcached.kill()
    assert [body(browser)[-1], body(browser)[-1]] == ["2", "3"]


@on_files
def test_a_region_that_is_off(site: Site, browser: Client) -> None:
    site.cache = make_manager(type="memory", enabled=False)
    site.show("{{ renders }}")
    assert [body(browser), body(browser)] == ["1", "2"]


@on_files
def test_a_stored_page_whose_hole_template_no_longer_exists(site: Site, browser: Client) -> None:
    site.templates["old.html"] = "old"
    shown = ['{% hole "old.html" %} {{ renders }}']
    site.page(lambda request: site.render(request, shown[0]))
    assert body(browser) == "old 1"
    shown[0] = "new {{ renders }}"
    del site.templates["old.html"]
    assert body(browser) == "new 2"


@on_files
@pytest.mark.parametrize(("error", "status"), [(Http404, 404), (ConnectionError, 200)])
def test_an_expired_page_replaces_a_failure_but_not_an_answer(
    site: Site, browser: Client, manager: Manager, error: type[Exception], status: int
) -> None:
    site.cache = manager(grace=60)
    failing = [False]

    def view(request: HttpRequest) -> HttpResponse:
        if failing[0]:
            raise error
        return HttpResponse("old")

    site.page(view, expire=0.2)
    assert body(browser) == "old"
    failing[0] = True
    time.sleep(0.3)
    assert browser.get("/page/").status_code == status
