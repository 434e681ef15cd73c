"""Decorated functions, on every store."""

from __future__ import annotations

import functools
import inspect
import sys
from dataclasses import dataclass
from types import MethodType
from typing import Any, NamedTuple

import pytest

from beaker_regions import CacheManager, ConfigurationError, UnkeyableArgumentError
from beaker_regions.entries import keys
from tests.beaker_regions.conftest import Calls, Manager


def test_the_second_call_is_a_hit(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int, power: int = 2) -> tuple[int, int]:
        return number**power, calls()

    assert load(3) == (9, 1)
    assert load(3) == load(3, 2) == load(power=2, number=3) == (9, 1)
    assert load(2, 3) == (8, 2)
    assert cache["functions"].stats["hits"] == 3
    assert cache["functions"].stats["loads"] == 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        "",
        b"",
        "text\x00 \udcff",
        b"\x00\r\nEND\r\n",
        [1, {"a": (2.5, None)}],
        "x" * 200_000,
    ],
)
def test_any_value_is_returned_unchanged(cache: CacheManager, calls: Calls, value: Any) -> None:
    @cache.region("functions")
    def load() -> Any:
        calls()
        return value

    load()
    found = load()
    assert found == value
    assert type(found) is type(value)
    assert calls.count == 1


def test_arguments_of_different_types_are_different_calls(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load(value: object) -> int:
        return calls()

    results = [load(value) for value in (1, "1", True, 1.0, b"1", None, "None", (1,), [1])]
    assert results == list(range(1, 10))


def test_a_users_text_is_never_an_error(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(text: str) -> int:
        return calls()

    texts = ["a b", "a\nb", "\x00", "é" * 5000, "🙂", "", "\udcff"]
    assert [load(text) for text in texts] == [load(text) for text in texts]


def test_an_argument_without_a_stable_key_is_refused_by_name(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(first: int, handle: object) -> None: ...

    with pytest.raises(
        UnkeyableArgumentError, match=r"load: argument 'handle'.*ignore=\['handle'\]"
    ):
        load(1, object())


def test_a_wrong_call_fails_as_the_function_would(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="missing a required argument: 'number'"):
        load()  # type: ignore[call-arg]


# -- invalidation -----------------------------------------------------------------------------


def test_invalidate_covers_one_call(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2)) == (1, 2)
    load.invalidate(number=1)
    assert (load(1), load(2)) == (3, 2)


def test_invalidate_all_covers_one_function(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    @cache.region("functions")
    def other(number: int) -> int:
        return calls()

    assert (load(1), load(2), other(1)) == (1, 2, 3)
    load.invalidate_all()
    assert (other(1), load(1), load(2)) == (3, 4, 5)


def test_a_tag_covers_entries_of_several_functions(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", tags=["owner:{owner}", "all"])
    def load(owner: int) -> int:
        return calls()

    @cache.region("functions", tags=lambda owner, page: [f"owner:{owner}"])
    def page_of(owner: int, page: int) -> int:
        return calls()

    assert (load(1), load(2), page_of(1, 1), page_of(1, 2)) == (1, 2, 3, 4)
    cache.invalidate_tags("owner:1")
    assert (load(2), load(1), page_of(1, 1), page_of(1, 2)) == (2, 5, 6, 7)
    cache.invalidate_tags("all", "owner:3")
    assert (page_of(1, 1), load(1), load(2)) == (6, 8, 9)


def test_a_region_is_invalidated_as_a_whole(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2)) == (1, 2)
    cache.invalidate_region("functions")
    assert (load(1), load(2)) == (3, 4)
    with pytest.raises(ConfigurationError, match="did you mean 'functions'"):
        cache.invalidate_region("function")


def test_region_invalidate_as_beaker_has_it(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", "named")
    def load(number: int) -> int:
        return calls()

    assert (load(1), load(2)) == (1, 2)
    cache.region_invalidate(load, "functions", "named", 1)
    assert (load(1), load(2)) == (3, 2)
    with pytest.raises(ConfigurationError, match="labels of its decorator are"):
        cache.region_invalidate(load, "functions", "another", 1)
    with pytest.raises(ConfigurationError, match="not a function that is cached"):
        cache.region_invalidate(load.uncached, "functions", 1)


def test_functions_of_one_name_are_distinguished_by_their_labels(
    cache: CacheManager, calls: Calls
) -> None:
    def made(name: str) -> Any:
        @cache.region("functions", name)
        def load() -> tuple[str, int]:
            return name, calls()

        return load

    first, second = made("first"), made("second")
    assert first() == ("first", 1)
    assert second() == ("second", 2)
    assert first() == ("first", 1)


def test_inner_functions_of_a_factory_need_a_label(cache: CacheManager) -> None:
    def counter_of(table: str) -> Any:
        @cache.region("functions")
        def count() -> str:
            return table

        return count

    assert counter_of("tasks")() == "tasks"
    with pytest.raises(ConfigurationError, match=r'count already.*region\(.functions., "a label"'):
        counter_of("users")
    # Made again of the same it is the same function.
    assert counter_of("tasks")() == "tasks"


def shouting(function: Any) -> Any:
    def wrapper() -> str:
        return str(function()).upper()

    return wrapper


def shouting_by_name(function: Any) -> Any:
    return functools.wraps(function)(shouting(function))


def hello() -> str:
    return "hello"


def bye() -> str:
    return "bye"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (shouting(hello), shouting(bye)),
        (hello, shouting_by_name(hello)),
        (shouting_by_name(hello), hello),
    ],
)
def test_wrappers_of_one_name_need_a_label(cache: CacheManager, first: Any, second: Any) -> None:
    assert cache.region("functions")(first)() == first()
    with pytest.raises(ConfigurationError, match="another function is called"):
        cache.region("functions")(second)
    assert cache.region("functions", "other")(second)() == second()
    # As a decorator that wraps what is cached.
    with pytest.raises(ConfigurationError, match="another function is called"):
        cache.region("functions")(shouting_by_name(cache.region("functions")(first)))


def test_partials_need_a_label_of_their_own(cache: CacheManager) -> None:
    def power(exponent: int, number: int) -> int:
        return int(number**exponent)

    region = cache.region
    square, cube = functools.partial(power, 2), functools.partial(power, 3)
    with pytest.raises(ConfigurationError, match=r"no name.*give it a label"):
        region("functions")(square)
    assert region("functions", "square")(square)(2) == 4
    assert region("functions", "cube")(cube)(2) == 8
    assert region("functions", "square")(functools.partial(power, 2))(2) == 4
    with pytest.raises(ConfigurationError, match="another function is called"):
        region("functions", "square")(cube)


def test_one_function_with_two_keys_needs_a_label(cache: CacheManager) -> None:
    by_first = cache.region("functions", key=lambda pair: pair[0])(identity)
    assert by_first((1, 2)) == (1, 2)
    with pytest.raises(ConfigurationError, match="another function is called"):
        cache.region("functions", key=lambda pair: pair[1])(identity)


def identity(pair: tuple[int, int]) -> tuple[int, int]:
    return pair


MODULE = """
def cached(cache):
    return cache.region("functions")

@cached(CACHE)
def load():
    return {value}

class Shop:
    @cached(CACHE)
    @classmethod
    def of(cls):
        return {value}
"""


def test_a_redefined_function_replaces_the_former_one(cache: CacheManager) -> None:
    """A module is reloaded, or a function is defined again in a shell."""
    shell: dict[str, Any] = {"CACHE": cache, "__name__": "__console__"}
    for value in (1, 2):
        exec(MODULE.format(value=value), shell)  # a shell, or importlib.reload()
        shell["load"].invalidate()
        assert shell["load"]() == value
    # A module that is removed from sys.modules and imported again.
    shell = {"CACHE": cache, "__name__": "__console__"}
    exec(MODULE.format(value=3), shell)
    later = "first = load\ndel load\n" + MODULE.format(value=4)
    with pytest.raises(ConfigurationError, match=r"__console__\.load already"):
        exec(later, shell)


# -- the other ways to call -------------------------------------------------------------------


def test_refresh_loads_and_stores(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert load(1) == 1
    assert load.refresh(1) == 2
    assert load(1) == 2
    assert load.refresh(5) == 3
    assert load(5) == 3


def test_reload_keeps_the_stored_value_until_it_has_another_one(
    cache: CacheManager, calls: Calls
) -> None:
    fails = False

    @cache.region("functions")
    def load(number: int) -> int:
        if fails:
            raise OSError("the source is away")
        return calls()

    assert (load(1), load.reload(1), load(1)) == (1, 2, 2)
    fails = True
    with pytest.raises(OSError, match="away"):
        load.reload(1)
    assert load(1) == 2


def test_peek_never_loads(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert load.peek(1) is None
    assert load(1) == 1
    assert load.peek(1) == 1
    load.invalidate(1)
    assert load.peek(1) is None
    assert calls.count == 1


def test_uncached_is_the_function_itself(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions")
    def load(number: int) -> int:
        return calls()

    assert load(1) == 1
    assert load.uncached(1) == 2
    assert load(1) == 1


def test_an_exception_reaches_the_caller_and_is_not_stored(
    cache: CacheManager, calls: Calls
) -> None:
    @cache.region("functions")
    def load() -> int:
        if calls() == 1:
            raise LookupError("not yet")
        return calls.count

    with pytest.raises(LookupError, match="not yet"):
        load()
    assert load() == 2
    assert load() == 2


def test_a_stop_iteration_reaches_the_caller_like_any_exception(cache: CacheManager) -> None:
    @cache.region("functions")
    def first(texts: tuple[str, ...]) -> str:
        return next(iter(texts))

    @cache.region("functions", store_if=lambda value: next(iter(())))
    def never(number: int) -> int:
        return number

    assert first(("a",)) == "a"
    for _ in range(2):
        with pytest.raises(StopIteration):
            first(())
        with pytest.raises(StopIteration):
            first.refresh(())
        with pytest.raises(StopIteration):
            never(1)


@pytest.mark.parametrize("values", [(1, 2), ("a", "b")])
def test_a_generator_function_is_refused_with_a_remedy(
    cache: CacheManager, values: tuple[Any, ...]
) -> None:
    @cache.region("functions")
    def numbers() -> Any:
        yield from values

    for _ in range(2):
        with pytest.raises(TypeError, match=r"numbers: .* return a list"):
            numbers()


def test_name_signature_and_docstring_are_kept(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(number: int, *, power: int = 2) -> int:
        """Raise to a power."""
        return int(number**power)

    assert load.__name__ == "load"
    assert load.__doc__ == "Raise to a power."
    assert str(inspect.signature(load)) == "(number: 'int', *, power: 'int' = 2) -> 'int'"


# -- methods ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    number: int


def test_methods_of_all_kinds(cache: CacheManager, calls: Calls) -> None:
    @dataclass(frozen=True)
    class Shop:
        number: int

        @cache.region("functions")
        def of(self, item: str) -> tuple[int, str, int]:
            return self.number, item, calls()

        @cache.region("functions")
        @classmethod
        def of_class(cls, item: str) -> tuple[str, str, int]:
            return cls.__name__, item, calls()

        @cache.region("functions")
        @staticmethod
        def of_none(item: str) -> tuple[str, int]:
            return item, calls()

    class Kiosk(Shop):
        pass

    shop: Any = Shop  # mypy does not follow a decorator over @staticmethod
    one, two = shop(1), shop(2)
    assert one.of("a") == one.of("a") == Shop(1).of("a") == (1, "a", 1)
    assert two.of("a") == (2, "a", 2)
    one.of.invalidate("a")
    assert one.of("a") == (1, "a", 3)
    assert two.of("a") == (2, "a", 2)
    assert Shop.of_class("a") == Shop(1).of_class("a") == ("Shop", "a", 4)
    assert Kiosk.of_class("a") == ("Kiosk", "a", 5)
    assert shop.of_none("a") == one.of_none("a") == ("a", 6)


def test_a_class_method_that_does_not_learn_its_class_is_refused(
    cache: CacheManager, calls: Calls
) -> None:
    class Shop:
        @classmethod
        @cache.region("functions")
        def of(cls, item: str = "a") -> int:
            return calls()

    # Shop.of is such a method from Python 3.13 on: its attributes do not learn the class.
    of: Any = MethodType(Shop.__dict__["of"].__func__, Shop)
    assert of("b") == of("b") == Shop.of("b") == 1
    for method in (of.invalidate, of.refresh, of.peek):
        with pytest.raises(
            ConfigurationError, match=r"@cache\.region\(\.\.\.\) above @classmethod"
        ):
            method("b")
    if sys.version_info < (3, 13):
        Shop.of.invalidate("b")
        assert Shop.of("b") == 2


def test_a_method_of_one_object(cache: CacheManager, calls: Calls) -> None:
    class Shop:
        def __init__(self, number: int) -> None:
            self.number = number

        def load(self, item: str) -> tuple[int, str, int]:
            return self.number, item, calls()

    keys.register(Shop, lambda shop: shop.number)
    one, two = (cache.region("functions")(Shop(number).load) for number in (1, 2))
    assert one("a") == one("a") == (1, "a", 1)
    assert two("a") == two("a") == (2, "a", 2)
    one.invalidate("a")
    assert (one("a"), two("a")) == ((1, "a", 3), (2, "a", 2))


def test_two_classes_with_a_method_of_one_name(cache: CacheManager) -> None:
    class A:
        @cache.region("functions", ignore=["self"])
        def active(self) -> str:
            return "a"

    class B:
        @cache.region("functions", ignore=["self"])
        def active(self) -> str:
            return "b"

    assert (A().active(), B().active(), A().active()) == ("a", "b", "a")


# -- options of the decorator -----------------------------------------------------------------


def test_ignored_arguments_do_not_belong_to_the_key(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", ignore=["handle"])
    def load(number: int, handle: object = None) -> int:
        return calls()

    assert load(1, object()) == load(1, object()) == load(1) == 1
    with pytest.raises(ConfigurationError, match="ignore='handel' is not a parameter"):
        cache.region("functions", ignore=["handel"])(lambda_free)


def lambda_free(handle: object) -> None: ...


def test_a_custom_key(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", key=lambda account: account.number)
    def load(account: Any) -> int:
        return calls()

    class Live:
        number = 7

    assert load(Account(7)) == load(Live()) == 1
    assert load(Account(8)) == 2


def test_store_if(cache: CacheManager, calls: Calls) -> None:
    @cache.region("functions", store_if=lambda value: value is not None)
    def load(number: int) -> int | None:
        return None if calls() < 3 else number

    assert [load(5) for _ in range(5)] == [None, None, 5, 5, 5]
    assert calls.count == 3


def test_a_different_version_is_a_different_entry(cache: CacheManager) -> None:
    def of(version: int) -> Any:
        @cache.region("functions", version=version)
        def load() -> int:
            return version

        return load

    first, second = of(1), of(2)
    assert (first(), second(), first()) == (1, 2, 1)


def test_an_invalidation_reaches_entries_of_other_versions(
    cache: CacheManager, calls: Calls
) -> None:
    def of(version: int) -> Any:
        @cache.region("functions", version=version)
        def load(number: int) -> int:
            return calls()

        return load

    first, second = of(1), of(2)
    assert [first(7), first(8), second(7), second(8)] == [1, 2, 3, 4]
    first.invalidate(7)
    assert [first(7), first(8), second(7), second(8)] == [5, 2, 6, 4]


def test_a_disabled_region_only_calls(manager: Manager, calls: Calls) -> None:
    cache = manager(enabled=False)

    @cache.region("functions")
    def load() -> int:
        return calls()

    assert (load(), load(), load.refresh(), load.peek()) == (1, 2, 3, None)
    load.invalidate()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": "owner"}, "tags='owner' is one string"),
        ({"tags": ["owner:{ownr}"]}, "tag 'owner:{ownr}'.*did you mean 'owner'"),
        ({"tags": ["owner:{}"]}, "tag 'owner:{}'"),
        ({"tags": ["owner:{owner"]}, "tag 'owner:{owner'"),
        ({"expire": "1h"}, "expire = '1h': give a number of seconds"),
        ({"expire": 0}, "expire = 0: give a number of seconds above 0"),
        ({"grace": -1}, "grace = -1: give a number of seconds that is not negative"),
    ],
)
def test_invalid_options_are_refused_at_definition(
    cache: CacheManager, options: Any, message: str
) -> None:
    def load(owner: int) -> int:
        return owner

    with pytest.raises(ConfigurationError, match=message):
        cache.region("functions", **options)(load)


def test_a_lambda_is_refused(cache: CacheManager) -> None:
    with pytest.raises(ConfigurationError, match="write it as def"):
        cache.region("functions")(lambda: 1)


def test_an_unknown_region_is_refused_with_the_most_similar_name(cache: CacheManager) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no region 'fuctions'; did you mean 'functions'\?"
    ):
        cache.region("fuctions")


class Former:
    """A class that the next release no longer has."""


def test_a_value_whose_class_was_removed_is_a_miss(
    cache: CacheManager, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = Former()

    @cache.region("functions")
    def load() -> Any:
        calls()
        return made

    assert isinstance(load(), Former)
    assert isinstance(load(), Former)
    assert calls.count == 1
    monkeypatch.delattr(f"{__name__}.Former")
    made = "as it is now"
    assert load() == load() == "as it is now"
    assert calls.count == 2
    assert cache["functions"].stats["failed.unreadable"] == 1


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    title: str = ""


@dataclass(frozen=True, slots=True)
class LaterRow:
    number: int
    owner: str = ""
    title: str = ""


class Pair(NamedTuple):
    left: str
    right: str = ""


class LaterPair(NamedTuple):
    left: str
    middle: str = ""
    right: str = ""


@pytest.mark.parametrize(
    ("name", "later", "arguments"), [("Row", LaterRow, (1, "a")), ("Pair", LaterPair, ("a", "b"))]
)
def test_a_value_whose_class_has_other_fields_now_is_a_miss(
    cache: CacheManager, monkeypatch: pytest.MonkeyPatch, name: str, later: Any, arguments: Any
) -> None:
    """As after a release: stored values must not be returned with other fields."""

    def load() -> Any:
        return {"rows": [globals()[name](*arguments)]}

    cached = cache.region("functions")(load)
    assert cached() == cached() == load()
    # The class of the next release has the same name.
    later.__module__, later.__qualname__, later.__name__ = __name__, name, name
    monkeypatch.setitem(globals(), name, later)
    assert cached.peek() is None
    assert cached() == cached.peek() == load()
    assert cache["functions"].stats["failed.unreadable"] >= 1


def test_a_value_of_a_class_that_cannot_be_found_is_not_stored(cache: CacheManager) -> None:
    @dataclass(frozen=True, slots=True)
    class Local:
        number: int

    @cache.region("functions")
    def load() -> Any:
        return Local(1)

    assert load() == Local(1)
    assert load.peek() is None
    assert cache["functions"].stats["failed.unpicklable"] == 1
