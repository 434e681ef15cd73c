"""Fragments of templates in a region."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction
from django.middleware.csrf import get_token
from django.template import TemplateSyntaxError, VariableDoesNotExist, engines
from django.template.loader import get_template
from django.test import Client, RequestFactory
from django.urls import path
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject

from beaker_regions import ConfigurationError, UnkeyableArgumentError
from beaker_regions.django import manager, region_page
from tests.beaker_regions.conftest import make_manager
from tests.beaker_regions.django.pages.conftest import Site
from tests.beaker_regions.stores.proxies import Proxy

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from tests.beaker_regions.conftest import Later
    from tests.servers import Memcached

on_files = pytest.mark.parametrize("manager", ["file_manager"], indirect=True)


def render(site: Site, source: str, **context: Any) -> str:
    """Render a template that is parsed each time, as after a restart."""
    template = engines["django"].from_string("{% load regions %}" + source)
    text: str = template.render({"n": site.renders, **context}, RequestFactory().get("/"))
    return text


def region(inner: str, arguments: str = "") -> str:
    return f'{{% region "functions" {arguments} %}}{inner}{{% endregion %}}'


def test_a_fragment_is_rendered_once_for_each_key(site: Site) -> None:
    source = region("{{ key }} {{ n }}", 'key tags="list all"')
    for key, shown in [(1, "1 1"), ("1", "1 2"), (None, "None 3"), (1, "1 1"), ("1", "1 2")]:
        assert render(site, source, key=key) == shown
    assert render(site, "{% autoescape off %}" + source + "{% endautoescape %}", key=1) == "1 4"
    with translation.override("de"):
        assert render(site, source, key=1) == "1 5"
    assert render(site, source, key=SimpleLazyObject(lambda: 7)) == "7 6"
    assert render(site, source, key=SimpleLazyObject(lambda: 7)) == "7 6"
    site.cache.invalidate_tags("all")
    assert render(site, source, key=1) == "1 7"


@on_files
@pytest.mark.parametrize("off", ["localtime", "localize"])
def test_a_fragment_for_each_format_of_times_and_numbers(
    site: Site, settings: Any, off: str
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    source = region("{{ number }} {{ time|date:'H' }}")
    given = {"number": 1234, "time": datetime(2030, 1, 1, 12, tzinfo=UTC)}
    with timezone.override("Asia/Tokyo"):
        plain = render(site, source, **given)
        other = render(
            site, f"{{% load tz l10n %}}{{% {off} off %}}{source}{{% end{off} %}}", **given
        )
    assert plain == "1,234 21"
    assert other == {"localtime": "1,234 12", "localize": "1234 21"}[off]


@on_files
def test_a_fragment_for_each_prefix_of_urls(site: Site) -> None:
    """A SCRIPT_NAME from a web server in front changes only the links of its own requests."""
    view = lambda request: site.render(request, region("{% url 'home' %}"))  # noqa: E731
    site.urlconf.urlpatterns.append(path("page/", view, name="home"))
    handler, factory = WSGIHandler(), RequestFactory()
    for _ in range(2):
        for prefix in ("/evil", ""):
            environ = factory.get("/page/", SCRIPT_NAME=prefix).environ
            seen = b"".join(handler(environ, lambda *_: bytes))
            assert seen.decode() == f"{prefix}/page/"


@on_files
def test_a_fragment_shows_the_blocks_of_its_template(site: Site) -> None:
    inner = region("{% block name %}base{% endblock %}{{ n }}")
    outer = region("{% if n %}{{ n }}" + inner + "{% endif %}")
    site.templates["base.html"] = "{% load regions %}" + outer
    site.templates["middle.html"] = "{% extends 'base.html' %}{% block name %}middle{% endblock %}"
    child = "{% extends 'middle.html' %}{% load regions %}{% block name %}"
    for name in ("a", "b"):
        site.templates[f"{name}.html"] = child + name + "{% endblock %}"
    site.templates["super.html"] = child.replace("'middle.html'", "layout") + (
        region("{{ block.super }}") + "{% endblock %}"
    )

    def text(template: Any, **context: Any) -> str:
        return re.sub(r"\d", "", template.render({"n": site.renders, **context}))

    names = ["base", "middle", "a", "b"]
    for _ in range(2):
        assert [text(get_template(f"{name}.html")) for name in names] == names
        for layout in ("middle", "base", "a"):
            assert text(get_template("super.html"), layout=f"{layout}.html") == layout
        for name in ("one", "two"):
            source = "{% extends 'base.html' %}{% block name %}" + name + "{% endblock %}"
            assert text(engines["django"].from_string(source)) == name
    count = site.renders.count
    assert [text(get_template(f"{name}.html")) for name in names] == names
    assert site.renders.count == count, "each is stored"


def test_each_block_and_each_version_of_a_template_has_its_own_fragment(site: Site) -> None:
    twice = region("{{ n }}") + " " + region("{{ n }}")
    assert render(site, twice) == render(site, twice) == "1 2"
    assert render(site, region("changed {{ n }}")) == "changed 3"


def test_named_keys_in_tags(site: Site) -> None:
    source = region("{{ n }}", 'pk=task.pk tags="task:{pk} task:all"')
    assert [render(site, source, task={"pk": pk}) for pk in (1, 2, 1)] == ["1", "2", "1"]
    site.cache.invalidate_tags("task:1")
    assert [render(site, source, task={"pk": pk}) for pk in (1, 2)] == ["3", "2"]
    listed = region("{{ n }}", "tags=names")
    assert render(site, listed, names=["a b", "c"]) == "4"
    site.cache.invalidate_tags("a b")
    assert render(site, listed, names=["a b", "c"]) == "5"


def test_nested_fragments(site: Site) -> None:
    """A fragment around a stale one is stale too; one beside it is not rendered again."""
    inner = region("c{{ n }}", 'tags="c"')
    middle = region("b{{ n }}(" + inner + ")", 'tags="b"')
    source = region("a{{ n }}(" + middle + region("d{{ n }}", 'tags="d"') + ")", 'tags="a"')
    assert render(site, source) == render(site, source) == "a1(b2(c3)d4)"
    site.cache.invalidate_tags("d")
    assert render(site, source) == render(site, source) == "a5(b2(c3)d6)"
    site.cache.invalidate_tags("c")
    assert render(site, source) == render(site, source) == "a7(b8(c9)d6)"
    site.cache.invalidate_tags("a")
    assert render(site, source) == render(site, source) == "a10(b8(c9)d6)"
    site.cache.invalidate_tags("b")
    assert render(site, source) == render(site, source) == "a11(b12(c9)d6)"


@on_files
def test_an_outer_fragment_expires_with_an_inner_one(site: Site, later: Later) -> None:
    source = region("a{{ n }}" + region("b{{ n }}", "expire=60"))
    assert render(site, source) == render(site, source) == "a1b2"
    later(90)
    assert render(site, source) == "a3b4"


def test_a_page_is_stale_when_a_fragment_in_it_is(site: Site, browser: Client) -> None:
    site.templates["part.html"] = "{% load regions %}" + region("i{{ renders }}", 'tags="i"')
    site.show("p{{ renders }}" + region('{% include "part.html" %}', 'tags="o"'))
    for tag, shown in [("", b"p1i1"), ("i", b"p2i2"), ("o", b"p3i2"), ("other", b"p3i2")]:
        site.cache.invalidate_tags(tag)
        assert [browser.get("/page/").content for _ in range(2)] == [shown] * 2


def test_a_page_with_a_fragment_that_a_bulk_change_invalidates(site: Site) -> None:
    shown = ["old"]
    source = region("{{ value }}", 'tags="i"')

    @region_page(site.cache["functions"])
    def page(request: HttpRequest) -> HttpResponse:
        return site.render(request, source, value=shown[0])

    with site.cache.deferred_invalidation():
        site.cache.invalidate_tags("i")
        assert page(RequestFactory().get("/")).content == b"old"
        assert render(site, region(source), value="old") == "old"
        shown[0] = "new"
    assert page(RequestFactory().get("/")).content == b"new"
    assert render(site, region(source), value="new") == "new"


def test_filters_around_fragments(site: Site) -> None:
    inner = region("<b> x{{ n }} </b> <i></i>", 'tags="t"')
    source = region(
        "{% filter upper %}{% spaceless %}" + inner + "{% endspaceless %}{% endfilter %}"
    )
    assert render(site, source) == render(site, source) == "<B> X1 </B><I></I>"


def test_variables_set_inside_are_not_visible_outside(site: Site) -> None:
    source = region("{% firstof 'in' as name %}{{ name }}") + "{{ name }}"
    assert render(site, source, name="out") == render(site, source, name="out") == "inout"


def test_a_fragment_that_fails_is_not_stored(site: Site) -> None:
    def fail() -> str:
        raise ZeroDivisionError

    source = region("{{ value }}")
    with pytest.raises(ZeroDivisionError):
        render(site, source, value=fail)
    assert render(site, source, value="right") == "right"


def test_a_loop_of_fragments(site: Site) -> None:
    source = (
        '{% regionfor task in tasks "functions" pk=task.pk v=task.v tags="task:{pk}" %}'
        "[{{ task.pk }}{{ prefix }}{{ n }}]{% empty %}none{% endregionfor %}"
    )
    tasks = [{"pk": pk, "v": 1} for pk in (1, 2, 3)]
    assert render(site, source, tasks=tasks, prefix=":") == "[1:1][2:2][3:3]"
    assert render(site, source, tasks=tasks[::-1], prefix=":") == "[3:3][2:2][1:1]"
    site.cache.invalidate_tags("task:2")
    tasks[2]["v"] = 2
    assert render(site, source, tasks=tasks, prefix=":") == "[1:1][2:4][3:5]"
    assert render(site, source, tasks=[]) == "none"
    assert render(site, source) == "none"


@on_files
@pytest.mark.parametrize("inside", ["{{ n }}", "loop", "doll"])
def test_requests_to_the_server(site: Site, memcached: Memcached, inside: str) -> None:
    """One for all fragments side by side, and one more for all fragments inside others."""
    proxy = Proxy(memcached.port)
    site.cache = make_manager(type="ext:memcached", url=proxy.address, secret="s", timeout=5)
    manager.use_manager(site.cache)
    loop = '{% regionfor i in rows "functions" i tags="row" %}{{ i }}{% endregionfor %}'
    source = {"loop": loop, "doll": region(loop + region(loop))}.get(inside, region(inside))
    first = render(site, source, rows=list(range(50)))
    proxy.requests.clear()
    assert render(site, source, rows=list(range(50))) == first
    assert len(proxy.requests) == (2 if inside == "doll" else 1)
    proxy.close()


def test_a_loop_of_pairs_with_fragments_in_it(site: Site) -> None:
    source = (
        '{% regionfor name, size in sizes "functions" name %}'
        "{{ name }}={{ size }}"
        + region("{{ n }}", 'name tags="size:{{ name }}"').replace("{{ name }}", "all")
        + "{% endregionfor %}"
    )
    outer = region(source, 'tags="outer"')
    assert render(site, outer, sizes=[("a", 1), ("b", 2)]) == "a=11b=22"
    assert render(site, outer, sizes=[("a", 1), ("b", 2)]) == "a=11b=22"
    site.cache.invalidate_tags("size:all")
    assert render(site, outer, sizes=[("a", 1), ("b", 2)]) == "a=13b=24"


TOKENS = [
    "{% csrf_token %}",
    "{# given #}{% csrf_token %}",
    "{{ csrf_token }}",
    "{{ token }}",
    '{% hole "name.html" %}',
]


@on_files
@pytest.mark.parametrize("inside", TOKENS)
@pytest.mark.parametrize("debug", [True, False])
def test_a_fragment_with_a_part_of_one_request_is_not_stored(
    site: Site, settings: Any, inside: str, debug: bool, browser: Client, other_browser: Client
) -> None:
    """In DEBUG a clear error; otherwise right for each visitor, and not stored."""
    settings.DEBUG = debug
    site.templates["name.html"] = "{{ request.GET.name }}"
    source = region("outer " + region("inner " + inside, 'tags="t"'))

    def view(request: Any) -> Any:
        given = {"csrf_token": get_token(request)} if "given" in inside else {}
        return site.render(request, source, token=lambda: get_token(request), **given)

    site.add(view, "plain/")
    site.page(view, tags=["page"])
    if debug:
        with pytest.raises(TemplateSyntaxError, match=r"region.*(csrf_token|hole)"):
            browser.get("/plain/")
        return
    for url in ("/plain/", "/page/"):
        seen = {
            client.get(f"{url}?name={i}").content
            for i in (1, 2)
            for client in (browser, other_browser, browser)
        }
        assert len(seen) == (2 if "hole" in inside else 6)


@on_files
def test_a_form_beside_a_fragment_is_allowed(site: Site, browser: Client) -> None:
    site.add(lambda request: site.render(request, "{% csrf_token %}" + region("{{ renders }}")))
    assert b"csrfmiddlewaretoken" in browser.get("/page/").content
    assert browser.cookies["csrftoken"].value
    assert browser.get("/page/").content.endswith(b"1")


WRONG = {
    '{% region "functions" usr.pk %}{% endregion %}': (VariableDoesNotExist, "usr"),
    '{% region "functons" %}{% endregion %}': (ConfigurationError, "functions"),
    '{% region "functions" request %}{% endregion %}': (
        UnkeyableArgumentError,
        "region.*one request is no other",
    ),
    '{% region "functions" pk=1 tags="a:{kp}" %}{% endregion %}': (TemplateSyntaxError, "kp.*pk"),
    '{% region "functions" expire=0 %}{% endregion %}': (TemplateSyntaxError, "expire"),
    '{% region "functions" pk=1 2 %}{% endregion %}': (TemplateSyntaxError, "before"),
    "{% region %}{% endregion %}": (TemplateSyntaxError, "name the region"),
    '{% regionfor "functions" %}{% endregionfor %}': (TemplateSyntaxError, "in list"),
    '{% region "functions" %}': (TemplateSyntaxError, "endregion"),
}


@on_files
@pytest.mark.parametrize("source", WRONG)
def test_a_wrong_tag_is_an_error(site: Site, source: str) -> None:
    error, hint = WRONG[source]
    with pytest.raises(error, match=hint):
        render(site, source)


@on_files
def test_without_a_manager_the_error_names_use_manager(site: Site) -> None:
    manager._manager = None
    with pytest.raises(ConfigurationError, match="use_manager"):
        render(site, region(""))


@on_files
def test_fragments_without_their_server(site: Site, own_memcached: Memcached) -> None:
    site.cache = make_manager(type="ext:memcached", url=own_memcached.address, secret="s")
    manager.use_manager(site.cache)
    source = region("a{{ n }}" + region("b{{ n }}"))
    assert render(site, source) == render(site, source) == "a1b2"
    own_memcached.kill()
    assert [render(site, source), render(site, source)] == ["a3b4", "a5b6"]


def test_fragments_in_a_transaction_are_not_stored(site: Site) -> None:
    source = region("{{ value }}" + region("{{ value }}", 'tags="t"'))
    with transaction.atomic():
        assert render(site, source, value="uncommitted") == "uncommitted" * 2
    assert render(site, source, value="old") == "oldold"
    with transaction.atomic():
        site.cache.invalidate_tags("t")
        assert render(site, source, value="new") == "newnew"
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(render(site, source, value="wrong")))
        thread.start()
        thread.join()
        assert seen == ["oldold"]
    assert render(site, source, value="newer") == "newernewer"
