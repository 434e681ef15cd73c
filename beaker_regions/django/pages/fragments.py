"""Fragments of templates in a region; a fragment may contain others, at any depth.

A tag (`beaker_regions.django.templatetags.regions`) becomes a block here. The key of a fragment
consists of the template and the block's number in it, the block's source (so that an edited one is
a miss), the keys in the tag, language and time zone, the prefix and the module of the URLs, how the
template around it escapes text and formats numbers and times, and the templates that fill the
``{% block %}``s in it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.conf import settings
from django.template import TemplateSyntaxError, Variable
from django.template.base import FilterExpression, NodeList
from django.template.context import Context
from django.template.loader_tags import BLOCK_CONTEXT_KEY
from django.utils.functional import SimpleLazyObject

from beaker_regions.config.options import lifetime
from beaker_regions.django.manager import region_named
from beaker_regions.django.pages.dependencies import (
    Found,
    Recorder,
    current_recorder,
    dependency_on,
    fetch,
    look_up,
    recording,
)
from beaker_regions.django.pages.surroundings import surroundings
from beaker_regions.engine.drivers import run
from beaker_regions.engine.reads import Dependency
from beaker_regions.engine.region import Region
from beaker_regions.entries import keys
from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
)
from beaker_regions.entries.families import scopes_of_tags
from beaker_regions.entries.freshness import Policy, dependence
from beaker_regions.errors import UnkeyableArgumentError
from beaker_regions.telemetry import tracing


class Fragment(NamedTuple):
    """A rendered block in the form in which it is stored."""

    text: str
    dependencies: tuple[Dependency, ...] = ()
    storable: bool = True


class Arguments(NamedTuple):
    """The arguments of a tag, not yet resolved."""

    tag: str
    region: FilterExpression
    keys: tuple[FilterExpression, ...]
    named: Mapping[str, FilterExpression]
    tags: FilterExpression | None
    expire: FilterExpression | None
    depends_on: FilterExpression | None


class BlockKey(NamedTuple):
    """The common part of the keys of a block's fragments."""

    identity: bytes
    scopes: tuple[str, ...]


class Block:
    """A part of a template whose fragments are stored."""

    def __init__(self, template: str, number: int, source: str, arguments: Arguments) -> None:
        self.name = f"{template}#{number}"
        self.title = f"{{% {arguments.tag} %}} number {number} in {template}"
        digest = hashlib.blake2b(source.encode(), digest_size=16).digest()
        self._identity = keys.encode(("template", template, number, digest))
        self._arguments = arguments
        # {% block %} and {{ block.super }} show content of other templates.
        self._inherits = "block" in source

    def region(self, context: Context) -> Region:
        return region_named(str(self._resolve(self._arguments.region, context)))

    def policy(self, region: Region, context: Context) -> Policy:
        options, expire = region.options, self._arguments.expire
        try:
            life = options.expire if expire is None else lifetime(self._resolve(expire, context))
        except ValueError as error:
            raise TemplateSyntaxError(f"{self.title}: expire: {error}") from error
        depends_on = "tags"
        if self._arguments.depends_on is not None:
            given = self._resolve(self._arguments.depends_on, context)
            try:
                depends_on = dependence(given, life)
            except ValueError as error:
                raise TemplateSyntaxError(f"{self.title}: depends_on={given!r}: {error}") from error
        policy = Policy(
            life, options.grace, options.early, lambda fragment: fragment.storable, depends_on
        )
        region.policies[self.name] = policy
        return policy

    def key(self, region: Region, context: Context) -> BlockKey:
        """Return the common part of the keys in one rendering."""
        parts = (
            surroundings(),
            region.name,
            context.autoescape,
            context.use_l10n,
            context.use_tz,
            _block_templates(context) if self._inherits else None,
        )
        scopes = (function_scope(region.name, self.name), region_scope(region.name))
        return BlockKey(self._identity + keys.encode(parts), scopes)

    def part(self, block_key: BlockKey, context: Context, pushed: dict[str, Any]) -> Part:
        """Return one fragment. Raises UnkeyableArgumentError."""
        arguments = self._arguments
        given = [self._resolve(each, context) for each in arguments.keys]
        named = {name: self._resolve(each, context) for name, each in arguments.named.items()}
        try:
            key = keys.encode((given, named))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(f"{self.title}: a key: {error}") from error
        address = address_of(block_key.identity, key)
        tags = self._tags(context, named)
        scopes = (entry_scope(address), *block_key.scopes, *scopes_of_tags(tags))
        return Part(pushed, Entry(self.name, address, scopes), tags)

    def _tags(self, context: Context, named: Mapping[str, Any]) -> list[str]:
        if self._arguments.tags is None:
            return []
        tags = self._resolve(self._arguments.tags, context)
        if not isinstance(tags, str):
            return [str(tag) for tag in tags]
        try:
            return [tag.format_map(named) for tag in tags.split()]
        except (LookupError, ValueError, AttributeError) as error:
            raise TemplateSyntaxError(
                f"{self.title}: tags={tags!r}: {error!r}; valid: {', '.join(named)}"
            ) from error

    def _resolve(self, expression: FilterExpression, context: Context) -> Any:
        if isinstance(expression.var, Variable):
            # Raises an error for a mistyped name, which would be the same empty key for all.
            expression.var.resolve(context)
        return expression.resolve(context)


def _block_templates(context: Context) -> Any:
    """Return the templates that fill the ``{% block %}``s of the one that is rendered."""
    blocks = context.render_context.get(BLOCK_CONTEXT_KEY)
    if blocks is None:
        return None
    top = context.template

    def template_of(node: Any) -> str:
        if name := node.origin.template_name:
            return str(name)
        # A template from a string has no name. Its source is known only if it is the top one.
        return top.source if top and node.origin is top.origin else secrets.token_hex()

    queues = sorted(blocks.blocks.items())
    return [(name, [template_of(node) for node in nodes]) for name, nodes in queues]


class Part(NamedTuple):
    """One fragment to return: the variables that are pushed for it, its entry and its tags."""

    variables: dict[str, Any]
    entry: Entry
    tags: list[str]


def fragment_texts(
    block: Block, nodes: NodeList, context: Context, variables: Iterable[dict[str, Any]]
) -> list[str]:
    """Return the block's text for each of ``variables``, which are pushed on the context. Stored
    fragments are fetched in one round trip to each server; the others are rendered."""
    parts = []
    region = block.region(context)
    policy, block_key = block.policy(region, context), block.key(region, context)
    for pushed in variables:
        with context.push(**pushed):
            parts.append(block.part(block_key, context, pushed))
    recorder = current_recorder()
    if not region.enabled:
        if recorder is not None:
            recorder.has_unknown = True
        return [_rendered(block, nodes, context, part.variables).text for part in parts]
    with tracing.call(region.name, block.name, len(parts)):
        found = look_up(region, [part.entry for part in parts], policy)
        return [
            _text(block, nodes, context, region, policy, part, each, recorder)
            for part, each in zip(parts, found, strict=True)
        ]


def _text(
    block: Block,
    nodes: NodeList,
    context: Context,
    region: Region,
    policy: Policy,
    part: Part,
    found: Found,
    recorder: Recorder | None,
) -> str:
    dependency = None
    if recorder is not None:
        dependency = dependency_on(region, part.entry, policy, found)

    def load() -> Fragment:
        region.stats.tag_users.learn(part.entry.function, part.tags)
        return _rendered(block, nodes, context, part.variables)

    fragment: Fragment = run(fetch(region, part.entry, policy, found), load)
    if recorder is not None:
        recorder.dependencies |= dict.fromkeys(fragment.dependencies)
        if dependency is None:
            recorder.has_unknown = True
        else:
            recorder.dependencies[dependency] = None
    return fragment.text


def _rendered(
    block: Block, nodes: NodeList, context: Context, variables: dict[str, Any]
) -> Fragment:
    outer = current_recorder()
    with recording() as inner, _detecting_tokens(context, inner), context.push(**variables):
        text = nodes.render(context)
    if inner.of_request:
        if settings.DEBUG:
            raise TemplateSyntaxError(
                f"{block.title} contains {inner.of_request}, which belongs to one request, and "
                f"would be shown to all visitors: put it outside"
            )
        if outer is not None:
            outer.of_request = outer.of_request or inner.of_request
    if outer is not None and inner.has_unknown:
        outer.has_unknown = True
    is_storable = not inner.of_request and not inner.has_unknown
    # The plain text, without Django's mark that it is safe: the text of a template always is.
    return Fragment("".join([text]), tuple(inner.dependencies), is_storable)


@contextmanager
def _detecting_tokens(context: Context, recorder: Recorder) -> Iterator[None]:
    """Record whether this block uses a CSRF token, from the context or from ``get_token``."""
    request = getattr(context, "request", None) or context.get("request")
    meta = getattr(request, "META", {})
    before = meta.pop(_NEEDS_COOKIE, None)
    token = context.get("csrf_token")

    def record_use() -> str:
        recorder.of_request = recorder.of_request or "{% csrf_token %}"
        return str(token)

    try:
        with context.push(
            **({} if token is None else {"csrf_token": SimpleLazyObject(record_use)})
        ):
            yield
    finally:
        if meta.get(_NEEDS_COOKIE):
            recorder.of_request = recorder.of_request or "{% csrf_token %}"
        elif before is not None:
            meta[_NEEDS_COOKIE] = before


_NEEDS_COOKIE = "CSRF_COOKIE_NEEDS_UPDATE"
