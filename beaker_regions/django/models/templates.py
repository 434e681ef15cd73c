"""Templates of the tags that a row has: text with fields of its model in it."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, ForeignKey, Model

from beaker_regions.errors import ConfigurationError, nearest

AnyField: TypeAlias = "Field[Any, Any]"

_COLLECTIONS = ("JSONField", "ArrayField", "HStoreField")
"""Kinds of fields whose values are lists and dictionaries."""


class Source(NamedTuple):
    """The place of a value: a field of the row, or of a row that its foreign keys lead to."""

    path: tuple[ForeignKey[Any, Any], ...]
    field: AnyField

    @property
    def first(self) -> AnyField:
        """The column of the row itself with which it begins."""
        return self.path[0] if self.path else self.field

    @property
    def lookup(self) -> str:
        """Its name in a query."""
        return "__".join([*(key.name for key in self.path), self.field.attname])


class Template(NamedTuple):
    """One template of tags of a model's rows."""

    text: str
    sources: tuple[Source, ...]
    """In the order of the positional fields of ``text``."""

    @property
    def family(self) -> str | None:
        """The text with which all of its tags begin; None if it has no field."""
        return next(iter(string.Formatter().parse(self.text)))[0] if self.sources else None

    def tag(self, values: Sequence[Any]) -> str | None:
        """Return the tag of a row with these values; None if one of them is NULL."""
        return None if None in values else self.text.format(*values)


def template_of(model: type[Model], text: str) -> Template:
    """Return a template with its fields found. Raises ConfigurationError."""
    refused = f"row tags of {model._meta.label}: {text!r}: "
    if not isinstance(text, str):
        raise ConfigurationError(f'{refused}a template is text, such as "list:{{list_id}}"')
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigurationError(f"{refused}{error}") from error
    if not parsed or not parsed[0][0]:
        raise ConfigurationError(
            f"{refused}it begins with a field; begin with text, as in {'rows:' + text!r}, so that "
            f"all of its tags can be invalidated together"
        )
    sources: list[Source] = []
    made = ""
    for literal, name, spec, conversion in parsed:
        made += literal.replace("{", "{{").replace("}", "}}")
        if name is None:
            continue
        if "{" in (spec or ""):
            raise ConfigurationError(f"{refused}a format cannot contain fields")
        sources.append(_source(model, name, refused))
        made += f"{{{'!' + conversion if conversion else ''}{':' + spec if spec else ''}}}"
    return Template(made, tuple(sources))


def _source(model: type[Model], name: str, refused: str) -> Source:
    """Return the field that a name such as ``list__user_id`` means."""
    path: list[ForeignKey[Any, Any]] = []
    parts = name.split("__")
    if "." in name or "[" in name:
        mend = name.replace(".", "__") if "[" not in name else name.partition("[")[0]
        raise ConfigurationError(f"{refused}{name!r} is no field; write {mend!r}")
    for number, part in enumerate(parts):
        field = _field(model, part)
        is_last = number == len(parts) - 1
        if field is None or not (is_last or isinstance(field, ForeignKey)):
            raise ConfigurationError(
                f"{refused}{model._meta.label} has no "
                f"{'field' if is_last else 'foreign key'} {part!r}; "
                f"{nearest(part, _names(model, keys_only=not is_last))}"
            )
        if not is_last:
            assert isinstance(field, ForeignKey)
            path.append(field)
            model = field.remote_field.model
        elif field.column is None:
            raise ConfigurationError(
                f"{refused}{model._meta.label} has a composite primary key; name its fields"
            )
        elif field.get_internal_type() in _COLLECTIONS:
            raise ConfigurationError(
                f"{refused}{part!r} is a {field.get_internal_type()}, whose value is no part of a "
                f"tag; name a field with a single value"
            )
    # The key that leads to a row has the value of the field that it refers to.
    while path and path[-1].target_field is field:
        field = path.pop()
    assert field is not None
    return Source(tuple(path), field)


def _field(model: type[Model], name: str) -> AnyField | None:
    """Return the column of this name; None if there is none."""
    if name == "pk":
        return model._meta.pk
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if field in model._meta.concrete_fields else None  # type: ignore[return-value]


def _names(model: type[Model], *, keys_only: bool) -> list[str]:
    fields = model._meta.concrete_fields
    if keys_only:
        return [field.name for field in fields if isinstance(field, ForeignKey)]
    return [*{name for field in fields for name in (field.name, field.attname)}, "pk"]
