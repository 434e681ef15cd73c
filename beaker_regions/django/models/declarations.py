"""The tags of the rows of a model, as the application declares them beside the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from django.apps import apps
from django.core.exceptions import AppRegistryNotReady
from django.db.models import Model

from beaker_regions.django.models.templates import AnyField, Source, Template, template_of
from beaker_regions.entries.families import set_tag_families
from beaker_regions.errors import ConfigurationError, nearest

M = TypeVar("M", bound="type[Model]")

LIMIT = 1000
"""Rows of one statement whose tags are asked for, unless the declaration gives another limit."""


@dataclass(frozen=True, eq=False)
class Declaration:
    """The tags of one model's rows."""

    model: type[Model]
    """A concrete model."""
    templates: tuple[Template, ...]
    """Templates with at least one field."""
    fixed: tuple[str, ...]
    """Tags that every row has; the first is `model_tag`."""
    limit: int

    @property
    def model_tag(self) -> str:
        """The tag of the model as a whole, such as ``"tasks.Task"``."""
        return self.fixed[0]

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The texts with which the tags of its rows begin."""
        return tuple(dict.fromkeys(each.family for each in self.templates if each.family))

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The fields that all of its templates use, each once."""
        return tuple(dict.fromkeys(each for made in self.templates for each in made.sources))

    @cached_property
    def columns(self) -> tuple[AnyField, ...]:
        """The columns of the row itself that its tags need, each once."""
        return tuple(dict.fromkeys(each.first for each in self.sources))

    @cached_property
    def _places(self) -> list[tuple[Template, list[int]]]:
        """For each template, where its values are in a row."""
        sources = self.sources
        return [
            (each, [sources.index(source) for source in each.sources]) for each in self.templates
        ]

    def tags(self, rows: Iterable[Sequence[Any]]) -> Iterator[str]:
        """Yield the tags of rows; each row is the values of `sources`."""
        for row in rows:
            for template, places in self._places:
                tag = template.tag([row[place] for place in places])
                if tag is not None:
                    yield tag


class Registry:
    """All declarations, by class; abstract classes and proxies too."""

    def __init__(self) -> None:
        self.declared: dict[type[Model], tuple[tuple[str, ...], int]] = {}
        self.found: dict[type[Model], Declaration | None] = {}
        """What `declaration_of` found for concrete models."""
        self.on_change: Callable[[], None] | None = None
        """Called after each `check`."""

    def add(self, model: type[Model], templates: tuple[str, ...], limit: int) -> None:
        if not isinstance(limit, int) or limit < 0:
            raise ConfigurationError(
                f"row tags of {model.__name__}: limit={limit!r}: give a number of rows, 0 or more"
            )
        before, least = self.declared.get(model, ((), limit))
        self.declared[model] = (*before, *templates), min(least, limit)
        if apps.models_ready:
            try:
                self.check()
            except ConfigurationError:
                self.declared[model] = before, least
                if not before:
                    del self.declared[model]
                raise

    def find(self, model: type[Model]) -> Declaration | None:
        """Return the declaration of a concrete model. Raises ConfigurationError."""
        texts: list[str] = []
        limits: list[int] = []
        for declared, (templates, limit) in self.declared.items():
            concrete = declared if declared._meta.abstract else declared._meta.concrete_model
            if concrete is model or (declared._meta.abstract and issubclass(model, declared)):
                texts += templates
                limits.append(limit)
        if not limits:
            return None
        made = [template_of(model, text) for text in dict.fromkeys(texts)]
        fixed = [each.text.format() for each in made if not each.sources]
        return Declaration(
            model,
            tuple(each for each in made if each.sources),
            (model._meta.label, *fixed),
            min(limits),
        )

    def check(self) -> None:
        """Find the declaration of every model, and set the families of tags. Raises
        ConfigurationError."""
        self.found = {
            model: self.find(model)
            for model in apps.get_models(include_auto_created=True)
            if not model._meta.proxy
        }
        declarations = [each for each in self.found.values() if each is not None]
        set_tag_families(family for each in declarations for family in each.families)
        if self.on_change is not None:
            self.on_change()


registry = Registry()


def declaration_of(model: type[Model]) -> Declaration | None:
    """Return what is declared for the rows of a model; a proxy's are its concrete model's."""
    try:
        return registry.found[model]
    except KeyError:
        if not registry.declared or model._meta.abstract:
            return None
        concrete = model._meta.concrete_model or model
        found = registry.find(model) if concrete is model else declaration_of(concrete)
        registry.found[model] = found
        return found


def row_tags(*templates: str, limit: int = LIMIT) -> Callable[[M], M]:
    """Declare the tags of a model's rows: a class decorator.

    Every write of Django's ORM to the model then invalidates the tags of the rows that it changes:
    the tags that they had, and the tags that they get. It does so in the write's own transaction.
    Every write also invalidates the tag of the model as a whole, which is its label, such as
    ``"tasks.Task"``.

    Args:
        *templates: Tags with fields of the row in braces: a field's name, ``pk``, or a field of
            another row that foreign keys lead to, such as ``list__user_id``. A template begins with
            text. A row in which one of its fields is NULL has no such tag. Declared on an abstract
            class, they hold for its subclasses; on a proxy, for its concrete model.
        limit: The number of rows of one statement whose tags are asked for. A statement that
            changes more rows invalidates all tags that begin as the templates do.

    Returns:
        A decorator that returns the class itself.

    Raises:
        ConfigurationError: A template names no field of the model. Raised when Django is ready.

    Example::

        @row_tags("list:{list_id}", "user:{list__user_id}")
        class Task(models.Model): ...
    """

    if templates and isinstance(templates[0], type):
        raise ConfigurationError(
            f'row_tags is given {templates[0].__name__}: write @row_tags("list:{{list_id}}"), or '
            f"@row_tags() for the tag of the model as a whole"
        )

    def decorate(model: M) -> M:
        registry.add(model, templates, limit)
        return model

    return decorate


def declare_row_tags(model: type[Model] | str, *templates: str, limit: int = LIMIT) -> None:
    """Declare the tags of the rows of a model of another application.

    Call it in the ``ready()`` of an AppConfig.

    Args:
        model: The model, or its label, such as ``settings.AUTH_USER_MODEL``.
        *templates: As of `row_tags`.
        limit: As of `row_tags`.

    Raises:
        ConfigurationError: There is no model of this label, or a template names no field of it.

    Example::

        declare_row_tags(User, "user:{pk}")
    """
    registry.add(model_named(model), templates, limit)


def model_named(model: type[Model] | str) -> type[Model]:
    """Return a model, or the one of a label. Raises ConfigurationError if there is none."""
    if not isinstance(model, str):
        return model
    try:
        return apps.get_model(model)
    except AppRegistryNotReady:
        raise ConfigurationError(
            f"the model {model!r} is not loaded yet; use it in the ready() of an AppConfig"
        ) from None
    except (LookupError, ValueError):
        labels = [each._meta.label for each in apps.get_models()]
        raise ConfigurationError(f"there is no model {model!r}; {nearest(model, labels)}") from None
