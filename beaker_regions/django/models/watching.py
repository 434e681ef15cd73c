"""The declarations that a write of a model concerns.

A write of one table changes rows of other models, too. A child of multi-table inheritance has half
of its columns in its parent's table. A tag that is made of another row's field, such as
``{list__user_id}``, changes with that row. And Django does not learn of the children that a
database deletes itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models
from django.db.models import Model

from beaker_regions.django.models.declarations import LIMIT, Declaration, registry
from beaker_regions.django.models.templates import Source, Template


class Follower(NamedTuple):
    """Rows of another model that a write concerns."""

    declaration: Declaration
    lookup: str
    """From those rows to the primary key of the written ones."""


@dataclass(frozen=True, eq=False)
class Watch:
    """Everything that a write of one model invalidates."""

    declaration: Declaration
    """Of the model's own rows."""
    followers: tuple[Follower, ...] = ()
    is_historical: bool = False
    """Whether the model is one of a migration, whose fields may be others than those declared."""

    @property
    def must_ask(self) -> bool:
        """Whether the tags are not known before the rows are."""
        return bool(self.declaration.templates or self.followers)

    @cached_property
    def all(self) -> tuple[Declaration, ...]:
        return (self.declaration, *(each.declaration for each in self.followers))

    @cached_property
    def deleted_by_database(self) -> tuple[Declaration, ...]:
        """The declarations of the rows that the database changes itself when rows are deleted."""
        return tuple(_deleted_with(self.declaration.model))


def watch_of(model: type[Model]) -> Watch | None:
    """Return what a write of ``model`` invalidates; None if it invalidates nothing."""
    try:
        return _watches[model]
    except KeyError:
        return _find(model)


_watches: dict[type[Model], Watch | None] = {}


def _find(model: type[Model]) -> Watch | None:
    if model.__module__ == "__fake__":  # a historical model: there may be many
        try:
            real = apps.get_model(model._meta.label)
        except LookupError:
            return None
        watch = watch_of(real)
        return watch and replace(watch, is_historical=True)
    concrete = model._meta.concrete_model
    _watches[model] = None if concrete is None or concrete is model else watch_of(concrete)
    return _watches[model]


def build_watches() -> dict[type[Model], Watch | None]:
    """Find the watch of every model again."""
    declared = {model: each for model, each in registry.found.items() if each is not None}
    own = dict(declared)
    followers: dict[type[Model], list[Follower]] = {}
    for declaration in declared.values():
        for template in declaration.templates:
            for passed, here, follower in _passed(declaration, template):
                if follower is not None:
                    followers.setdefault(passed, []).append(follower)
                    continue
                before = own.get(passed) or Declaration(
                    passed, (), (passed._meta.label,), declaration.limit
                )
                if here not in before.templates:
                    own[passed] = replace(before, templates=(*before.templates, here))
    for model in list(own):
        for parent in model._meta.all_parents:
            link = model._meta.get_ancestor_link(parent)
            assert link is not None
            lookup = "pk" if link.primary_key else f"{link.name}__pk"
            followers.setdefault(parent, []).append(Follower(own[model], lookup))
    _watches.clear()
    _watches.update(dict.fromkeys(registry.found))
    for model in {*own, *followers}:
        declaration = own.get(model) or Declaration(model, (), (model._meta.label,), LIMIT)
        _watches[model] = Watch(declaration, tuple(followers.get(model, ())))
    for model in registry.found:
        # A model that declares nothing may have rows that the database deletes with it.
        if _watches[model] is None and any(_deleted_with(model)):
            _watches[model] = Watch(Declaration(model, (), (model._meta.label,), LIMIT))
    return _watches


def _passed(
    declaration: Declaration, template: Template
) -> Iterator[tuple[type[Model], Template, Follower | None]]:
    """Yield the models that the paths of a template pass, with the template as it is over a row
    there; with a follower, if it also uses fields that are not reached from there."""
    for source in template.sources:
        for number in range(1, len(source.path) + 1):
            passed = _concrete(source.path[number - 1].remote_field.model)
            path = source.path[:number]
            if all(each.path[:number] == path for each in template.sources):
                rest = [Source(each.path[number:], each.field) for each in template.sources]
                yield passed, Template(template.text, tuple(rest)), None
            else:
                lookup = "__".join([*(key.name for key in path), "pk"])
                only = replace(declaration, templates=(template,))
                yield passed, template, Follower(only, lookup)


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model


_DB_CASCADE: Any = getattr(models, "DB_CASCADE", None)
_BY_DATABASE = {
    getattr(models, name, None) for name in ("DB_CASCADE", "DB_SET_NULL", "DB_SET_DEFAULT")
} - {None}


def _deleted_with(
    model: type[Model], seen: set[type[Model]] | None = None
) -> Iterator[Declaration]:
    """Yield the declarations of rows that the database itself deletes or changes when it deletes
    rows of ``model`` (Django 6.1 on)."""
    if not _BY_DATABASE:
        return
    seen = {model} if seen is None else seen
    for relation in model._meta.related_objects:
        on_delete = getattr(relation, "on_delete", None)
        child = _concrete(relation.related_model)
        if on_delete not in _BY_DATABASE:
            continue
        watch = _watches.get(child)
        if watch is not None:
            yield from watch.all
        if on_delete is _DB_CASCADE and child not in seen:
            seen.add(child)
            yield from _deleted_with(child, seen)
