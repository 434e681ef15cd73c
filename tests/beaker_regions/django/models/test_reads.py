"""The check for forgotten tags: the tables that a load reads, and the tags of its entry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Count, Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import RequestFactory, override_settings

from beaker_regions.django import manager as django_manager
from beaker_regions.django import region_page
from beaker_regions.django.models import reads
from beaker_regions.django.models.reads import Finding
from tests.beaker_regions.django.conftest import elsewhere
from tests.beaker_regions.django.models.models import Book, Novel, Owner, Shelf, Toy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beaker_regions import CacheManager
    from beaker_regions.engine.region import Region
    from tests.beaker_regions.conftest import Manager

pytestmark = pytest.mark.django_db(transaction=True)

BOOKS = "watched_book"
SHELVES = "watched_shelf"
OWNERS = "watched_owner"


class Seen(reads.Check):
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.covered_tables: set[tuple[str, str]] = set()
        self.functions: list[str] = []

    def found(self, region: Region, finding: Finding) -> None:
        self.findings.append(finding)

    def covered(self, region: Region, function: str, table: str) -> None:
        self.covered_tables.add((function, table))

    def loaded(self, region: Region, function: str) -> None:
        self.functions.append(function)

    def tables(self) -> set[tuple[str, str]]:
        """Return the kind and table of each finding, and clear the findings."""
        found = {(each.kind, each.table) for each in self.findings}
        self.findings.clear()
        return found

    def functions_with(self, table: str) -> set[str]:
        return {each.function.rpartition(".")[2] for each in self.findings if each.table == table}


@pytest.fixture
def seen() -> Iterator[Seen]:
    made = Seen()
    reads.switch_on(made)
    yield made
    reads.switch_off()


@pytest.fixture
def cache(file_manager: Manager) -> CacheManager:
    return file_manager()


MISSING_BOOKS, MISSING_SHELVES = ("missing", BOOKS), ("missing", SHELVES)
UNWATCHED_OWNERS = ("unwatched", OWNERS)


class Query(NamedTuple):
    load: Callable[[], Any]
    found: set[tuple[str, str]]


def raw(sql: str) -> Callable[[], Any]:
    def load() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return load


QUERIES = {
    "a row": Query(lambda: Book.objects.filter(pk=1).first(), {MISSING_BOOKS}),
    "a join": Query(
        lambda: list(Book.objects.filter(shelf__name="a")), {MISSING_BOOKS, MISSING_SHELVES}
    ),
    "select_related": Query(
        lambda: list(Shelf.objects.select_related("owner")), {MISSING_SHELVES, UNWATCHED_OWNERS}
    ),
    "prefetch_related": Query(
        lambda: list(Owner.objects.filter(pk__gt=0).prefetch_related("shelves")), {UNWATCHED_OWNERS}
    ),
    "a subquery": Query(
        lambda: Owner.objects.filter(Exists(Shelf.objects.filter(owner=OuterRef("pk")))).count(),
        {MISSING_SHELVES, UNWATCHED_OWNERS},
    ),
    "an aggregate": Query(
        lambda: list(Shelf.objects.annotate(n=Count("books")).values_list("n")),
        {MISSING_BOOKS, MISSING_SHELVES},
    ),
    "a union": Query(
        lambda: list(Shelf.objects.values("pk").union(Owner.objects.values("pk"))),
        {MISSING_SHELVES, UNWATCHED_OWNERS},
    ),
    "many to many": Query(
        lambda: list(Book(pk=1).topics.all()),
        {("unwatched", "watched_topic"), ("missing", "watched_book_topics")},
    ),
    "a child of a model": Query(
        lambda: list(Toy.objects.all()),
        {("missing", "watched_toy"), ("missing", "watched_item")},
    ),
    "a proxy": Query(lambda: Novel.objects.exists(), {MISSING_BOOKS}),
    "a common table expression": Query(
        raw("WITH wanted AS (SELECT id FROM watched_book) SELECT * FROM wanted, watched_owner o"),
        {MISSING_BOOKS, UNWATCHED_OWNERS},
    ),
    "raw SQL": Query(
        lambda: list(Shelf.objects.raw("select s.* from WATCHED_shelf as s -- FROM watched_owner")),
        {MISSING_SHELVES},
    ),
    "words that are no tables": Query(
        raw("SELECT 'FROM watched_owner' AS watched_owner, 1 AS watched_book FROM watched_shelf"),
        {MISSING_SHELVES},
    ),
    "an iterator": Query(lambda: [book.pk for book in Book.objects.iterator()], {MISSING_BOOKS}),
    "a query set": Query(lambda: Book.objects.filter(pages=1), {MISSING_BOOKS}),
    "a statement that writes": Query(lambda: Owner.objects.filter(pk=0).update(name="x"), set()),
    "content types": Query(lambda: ContentType.objects.filter(pk=1).first(), set()),
}
if connection.vendor == "mysql":  # tables' names have a case there
    del QUERIES["raw SQL"]


@pytest.mark.parametrize("name", QUERIES)
def test_the_tables_of_a_query(cache: CacheManager, seen: Seen, name: str) -> None:
    query = QUERIES[name]

    @cache.region("functions", name)
    def load() -> Any:
        return query.load()

    load()
    assert seen.tables() == query.found
    load()
    assert seen.tables() == set()  # a hit sends no query
    query.load()
    assert seen.tables() == set()  # nor does code outside of a load count


def test_a_finding_says_what_to_do(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions", "books")
    def books(shelf_id: int) -> list[int]:
        return list(Book.objects.filter(shelf_id=shelf_id).values_list("pk", flat=True))  # here

    @cache.region("functions", "owners")
    def owners() -> int:
        return Owner.objects.count()

    books(1)
    (finding,) = seen.findings
    source = Path(__file__).read_text().splitlines()
    number = next(at for at, line in enumerate(source, 1) if line.endswith("# here"))
    assert finding.function == books.name
    assert (finding.region, finding.table, finding.model) == ("functions", BOOKS, "watched.Book")
    assert finding.line.endswith(f"test_reads.py:{number} in books")
    assert '"shelf books:{shelf_id}" or "watched.Book"' in finding.mend
    assert str(finding).startswith(f"{books.name} reads watched_book, a missing dependency (")
    seen.findings.clear()
    owners()
    assert "declare the tags of the rows of watched.Owner" in seen.findings[0].mend


@pytest.mark.parametrize(
    "tags",
    [
        ["shelf books:{shelf_id}"],
        ["watched.Book"],
        ["other:{shelf_id}", "owner books:{shelf_id}"],
        lambda shelf_id: [f"code:{shelf_id}"],
    ],
)
def test_a_tag_of_the_rows_or_of_the_model_is_enough(
    cache: CacheManager, seen: Seen, tags: Any
) -> None:
    @cache.region("functions", str(tags), tags=tags)
    def books(shelf_id: int) -> int:
        return Book.objects.filter(shelf_id=shelf_id).count()

    books(1)
    assert seen.tables() == set()
    assert seen.covered_tables == {(books.name, BOOKS)}
    assert seen.functions[0] == books.name


def test_another_tag_is_not_enough(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions", tags=["shelf:{shelf_id}", "books"])
    def books(shelf_id: int) -> int:
        return Book.objects.filter(shelf_id=shelf_id).count()

    books(1)
    assert seen.tables() == {MISSING_BOOKS}


def test_a_query_counts_for_every_load_around_it(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions", "inner", tags=["watched.Book"])
    def inner() -> int:
        return Book.objects.count()

    @cache.region("functions", "middle", tags=["watched.Book"])
    def middle() -> int:
        return inner() + Owner.objects.count()

    @cache.region("functions", "outer")
    def outer() -> int:
        return middle()

    outer()
    assert seen.functions_with(BOOKS) == {"outer"}
    assert seen.functions_with(OWNERS) == {"middle", "outer"}
    seen.findings.clear()
    outer.refresh()  # the inner two are hits
    assert seen.functions_with(BOOKS) == {"outer"}
    assert seen.functions_with(OWNERS) == {"outer"}


def test_a_function_may_say_that_its_values_may_be_old(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions", "old", expire=60, depends_on="expiry")
    def old() -> int:
        return Book.objects.count()

    @cache.region("functions", "of old", tags=["watched.Shelf"])
    def of_old() -> int:
        return old() + Shelf.objects.count()

    of_old()
    of_old.refresh()
    assert seen.tables() == set()
    assert set(seen.functions) == {of_old.name}


def test_a_function_that_depends_on_its_queries(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions", "learned", depends_on="queries")
    def learned() -> int:
        return Book.objects.count() + Owner.objects.count()

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{learned()}")

    learned()
    learned.refresh()
    assert seen.tables() == {UNWATCHED_OWNERS}
    assert BOOKS in {table for _, table in seen.covered_tables}
    # A page around it does not learn its reads, neither in a load nor at a hit.
    learned.invalidate()
    region_page("functions")(view)(RequestFactory().get("/"))
    assert {each.table for each in seen.findings if "view" in each.function} == {BOOKS, OWNERS}
    seen.findings.clear()
    region_page("functions", version=1)(view)(RequestFactory().get("/"))
    assert {each.table for each in seen.findings if "view" in each.function} == {BOOKS, OWNERS}


@override_settings(REGIONS_UNWATCHED=["watched.Owner", "watched.Book"])
def test_models_that_need_no_declaration(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions")
    def count() -> int:
        return Owner.objects.count() + Book.objects.count()

    count()
    assert seen.tables() == {MISSING_BOOKS}  # it is declared


def test_loads_that_are_not_stored(cache: CacheManager, seen: Seen) -> None:
    """In a transaction, as in a test case of Django's."""
    from django.db import transaction

    @cache.region("functions")
    def count() -> int:
        return Book.objects.count()

    with transaction.atomic():
        count()
    assert seen.tables() == {MISSING_BOOKS}


def test_a_connection_of_another_thread(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions")
    def count() -> int:
        return Book.objects.count()

    elsewhere(count)
    assert seen.tables() == {MISSING_BOOKS}


def test_a_block_around_the_queries_of_a_connection(cache: CacheManager, seen: Seen) -> None:
    """Django's blocks remove the wrapper that was added last."""

    @cache.region("functions")
    def count() -> int:
        return Book.objects.count()

    def in_block() -> None:
        with connection.execute_wrapper(lambda execute, *args: execute(*args)):
            count.refresh()  # opens the connection
        seen.findings.clear()
        count.refresh()

    elsewhere(in_block)
    assert seen.tables() == {MISSING_BOOKS}


def test_coroutine_functions(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions", "books")
    async def books() -> int:
        return await Book.objects.acount()  # in the coroutine

    @cache.region("functions", "listed")
    async def listed() -> list[int]:
        return [shelf.pk async for shelf in Shelf.objects.all()]

    @cache.region("functions", "in a thread")
    async def in_a_thread() -> int:
        return await sync_to_async(Owner.objects.count)()

    async def call() -> None:
        await asyncio.gather(books(), listed(), in_a_thread())
        await User.objects.acount()

    async_to_sync(call)()
    assert seen.functions_with(BOOKS) == {"books"}
    assert seen.functions_with(SHELVES) == {"listed"}
    assert seen.functions_with(OWNERS) == {"in a thread"}
    assert len({each.table for each in seen.findings}) == 3
    source = Path(__file__).read_text().splitlines()
    number = next(at for at, line in enumerate(source, 1) if line.endswith("# in the coroutine"))
    (line,) = (each.line for each in seen.findings if each.table == BOOKS)
    assert line.endswith(f"test_reads.py:{number} in books")


def test_a_task_that_outlives_a_load_belongs_to_no_load(cache: CacheManager, seen: Seen) -> None:
    tasks = []

    async def later() -> None:
        await asyncio.sleep(0.05)
        await Book.objects.acount()

    @cache.region("functions")
    async def begin() -> int:
        tasks.append(asyncio.ensure_future(later()))
        return 1

    async def call() -> None:
        await begin()
        await asyncio.gather(*tasks)

    async_to_sync(call)()
    assert seen.tables() == set()


def test_a_coroutine_that_is_closed(cache: CacheManager, seen: Seen) -> None:
    begun = asyncio.Event()

    @cache.region("functions")
    async def wait() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def call() -> None:
        task = asyncio.ensure_future(wait())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async_to_sync(call)()
    Book.objects.count()
    assert seen.tables() == set()


def test_content_that_reads_rows_while_it_is_stored(cache: CacheManager, seen: Seen) -> None:
    @cache.region("functions")
    def export() -> Iterator[bytes]:
        for pk in Book.objects.values_list("pk", flat=True):
            yield b"%d\n" % pk
        yield b"end"

    assert export().read_bytes() == b"end"
    assert seen.tables() == {MISSING_BOOKS}


# -- pages and fragments ---------------------------------------------------------------------


@pytest.fixture
def _known(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_manager, "_manager", cache)


def render(source: str, **context: Any) -> str:
    text: str = engines["django"].from_string("{% load regions %}" + source).render(context)
    return text


@pytest.mark.usefixtures("_known")
def test_fragments(seen: Seen) -> None:
    books = {"books": Book.objects.all(), "owners": Owner.objects.all()}
    inner = '{% region "functions" 1 TAGS %}{{ books.count }}{% endregion %}'
    render(inner.replace("TAGS", ""), **books)
    assert seen.tables() == {MISSING_BOOKS}
    render(inner.replace("TAGS", 'expire=60 depends_on="expiry"'), **books)
    assert seen.tables() == set()
    # An outer fragment depends on an inner one itself.
    inner = inner.replace("TAGS", 'tags="watched.Book"')
    outer = '{% region "functions" 2 %}{{ owners.count }}' + inner + "{% endregion %}"
    render(outer, **books)
    assert seen.tables() == {UNWATCHED_OWNERS}


@pytest.mark.usefixtures("_known")
def test_a_fragment_in_a_function(cache: CacheManager, seen: Seen) -> None:
    """A function does not depend on the fragments that it renders, found or not."""
    source = '{% region "functions" 1 tags="watched.Book" %}{{ books.count }}{% endregion %}'

    @cache.region("functions", "text")
    def text() -> str:
        return render(source, books=Book.objects.all())

    text()
    assert seen.functions_with(BOOKS) == {"text"}
    seen.findings.clear()
    text.refresh()
    assert seen.functions_with(BOOKS) == {"text"}


@pytest.mark.usefixtures("_known")
def test_pages(cache: CacheManager, seen: Seen) -> None:
    fragment = '{% region "functions" 1 tags="watched.Book" %}{{ books.count }}{% endregion %}'

    def view(request: HttpRequest) -> HttpResponse:
        shelves = Shelf.objects.count()
        return HttpResponse(f"{shelves} {render(fragment, books=Book.objects.all())}")

    def get(**options: Any) -> None:
        with override_settings(ALLOWED_HOSTS=["testserver"]):
            page = region_page("functions", version=str(options), **options)(view)
            assert page(RequestFactory().get("/")).status_code == 200

    get()
    assert seen.tables() == {MISSING_SHELVES}
    get(expire=60, depends_on="expiry")
    assert seen.tables() == set()
    get(tags=["watched.Shelf"])
    assert seen.tables() == set()


# -- off ---------------------------------------------------------------------------------------


def test_nothing_is_left_when_it_is_off(cache: CacheManager, seen: Seen) -> None:
    from beaker_regions.engine import loading
    from beaker_regions.telemetry import tracing

    assert reads._execute in connection.execute_wrappers
    reads.switch_off()
    assert reads._execute not in connection.execute_wrappers
    assert loading._observer is None
    assert not tracing.watchers
