"""The tags of a function's entries: templates over the arguments, or a function of them."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from beaker_regions.entries.families import clear_at_change, scopes_of_tags
from beaker_regions.entries.tag_users import TagUsers
from beaker_regions.errors import ConfigurationError, nearest

Tags = Iterable[str] | Callable[..., Iterable[str]]

_scopes_of_fixed = functools.lru_cache(maxsize=None)(scopes_of_tags)
"""The scopes of a function's tags without parameters."""

clear_at_change(_scopes_of_fixed)


class TagMaker:
    """Makes the scopes of one function's tags.

    Raises ConfigurationError, naming the function, for a template that cannot be filled.
    """

    def __init__(
        self, function: str, tags: Tags, parameters: Iterable[str], users: TagUsers
    ) -> None:
        self._name = function
        self._users = users
        self._function: Callable[..., Iterable[str]] | None = None
        self._fixed: tuple[str, ...] = ()
        self._templates: tuple[str, ...] = ()
        if callable(tags):
            self._function = tags
            return
        if isinstance(tags, str):
            raise ConfigurationError(f"{function}: tags={tags!r} is one string; give a list")
        templates = tuple(tags)
        for tag in templates:
            if not isinstance(tag, str):
                raise ConfigurationError(f"{function}: tag {tag!r} is no text")
        names = tuple(parameters)
        varying = [tag for tag in templates if _fields(function, tag, names)]
        self._templates = tuple(varying)
        users.add(function, templates)
        self._fixed = tuple(tag.format() for tag in templates if tag not in varying)

    def __bool__(self) -> bool:
        return bool(self._function or self._fixed or self._templates)

    def scopes(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Return the scopes of the tags of one call; ``arguments`` are the bound ones."""
        if self._function is not None:
            tags = self._function(*args, **kwargs)
            if isinstance(tags, str):
                raise ConfigurationError(
                    f"{self._name}: tags= returned one string, {tags!r}; return a list"
                )
            tags = tuple(tags)
            self._users.learn(self._name, tags)
            return scopes_of_tags(tags)
        fixed = _scopes_of_fixed(self._fixed) if self._fixed else ()
        if not self._templates:
            return fixed
        return fixed + scopes_of_tags([each.format_map(arguments) for each in self._templates])


def _fields(function: str, template: str, parameters: tuple[str, ...]) -> list[str]:
    """Return the parameters that a template names."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ConfigurationError(f"{function}: tag {template!r}: {error}") from error
    names = [field.partition(".")[0].partition("[")[0] for field in fields if field is not None]
    for name in names:
        if name not in parameters:
            raise ConfigurationError(
                f"{function}: tag {template!r}: there is no parameter {name!r}; "
                f"{nearest(name, parameters)}"
            )
    return names
