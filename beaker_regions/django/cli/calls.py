"""The subcommands of ``manage.py regions`` that deal with one call of a function."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import pprint
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, get_type_hints

from django.core.management.base import CommandError

from beaker_regions.django.cli import reports
from beaker_regions.engine.invalidation import invalidate_tags
from beaker_regions.engine.region import all_regions
from beaker_regions.entries.sentinels import MISSING
from beaker_regions.errors import CacheError

Options = dict[str, Any]
Output = tuple[Any, str]
"""The output of a subcommand, as data and as text."""


def get(options: Options) -> Iterator[Output]:
    function = _decorated(options)
    # `_peek` also reads a coroutine function's value without waiting; None may be a stored value.
    value = _call(function, lambda *given, **named: function._peek(given, named), options)
    if value is MISSING:
        yield {"stored": False}, "Nothing is stored"
        return
    try:
        json.dumps(value)
        shown = value
    except (TypeError, ValueError):
        shown = repr(value)
    yield {"stored": True, "value": shown}, pprint.pformat(value)


def invalidate(options: Options) -> Iterator[Output]:
    tags = options["tag"]
    if bool(tags) == bool(options["function"]):
        raise CommandError("Give a function, or tags (--tag), and not both")
    if tags:
        invalidate_tags(all_regions(), tags)
        what = f"tags: {', '.join(tags)}"
        yield {"invalidated": what}, f"Invalidated {what}"
        return
    function = _decorated(options)
    if options["all"]:
        if options["arguments"]:
            raise CommandError("Give arguments, or --all, not both")
        _finish(function.invalidate_all())
        what = f"every call of {function.name}"
    else:
        _call(function, function.invalidate, options)
        what = f"{function.name}({', '.join(options['arguments'])})"
    yield {"invalidated": what}, f"Invalidated {what}"


def function_of(options: Options) -> reports.Function:
    """Return the function that is named. Raises CommandError."""
    try:
        return reports.function_named(options["function"])
    except CacheError as error:
        raise CommandError(f"{str(error)[0].upper()}{str(error)[1:]}") from error


def _decorated(options: Options) -> Any:
    function = function_of(options)
    if function.decorated is None:
        raise CommandError(
            f"{function.name} is a page or a fragment, not a function: invalidate it by its tags, "
            f"or on the staff's pages"
        )
    return function.decorated


def _call(function: Any, method: Callable[..., Any], options: Options) -> Any:
    given, named = _arguments(function, options["arguments"])
    try:
        return _finish(method(*given, **named))
    except (TypeError, CacheError) as error:
        hint = " (--all: every call)" if options["command"] == "invalidate" else ""
        raise CommandError(
            f"{function.name}{inspect.signature(function)}: {error}{hint}"
        ) from error


def _finish(result: Any) -> Any:
    async def finish() -> Any:
        return await result

    return asyncio.run(finish()) if inspect.isawaitable(result) else result


def _arguments(function: Any, texts: list[str]) -> tuple[list[Any], dict[str, Any]]:
    parameters = list(inspect.signature(function).parameters)
    try:
        hints = get_type_hints(inspect.unwrap(function))
    except NameError:
        hints = {}  # an annotation has a name that only type checkers see
    given: list[Any] = []
    named: dict[str, Any] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if equals and name in parameters:
            named[name] = _value(name, rest, hints.get(name))
        else:
            at = len(given)
            name = parameters[at] if at < len(parameters) else f"argument {at + 1}"
            given.append(_value(name, text, hints.get(name)))
    return given, named


def _value(name: str, text: str, hint: Any) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = MISSING
    if isinstance(hint, type) and issubclass(hint, Enum):
        members = {str(member.value): member for member in hint}
        key = text if value is MISSING else str(value)
        if key not in members:
            raise CommandError(f"{name}: {text} is not one of {', '.join(members)}")
        return members[key]
    if hint is str and not isinstance(value, str):
        return text
    if value is MISSING:
        raise CommandError(
            f"{name}: {text} is not a Python literal; write 7, None, [1, 2], or a text in quotes: "
            f"\"'{text}'\""
        )
    return value
