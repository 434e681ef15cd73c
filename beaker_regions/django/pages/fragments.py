"""Parts of templates in a region, within each other as deep as you like.

The tags (`beaker_regions.django.templatetags.regions`) are read here into blocks, and their texts
kept:
by template and place in it, by the block's own source (a changed template starts anew), by the
keys, by language and time zone, by what links are made of, by how the template around it escapes
and writes numbers and times, and by what templates fill the ``{% block %}``s in it.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.template import TemplateSyntaxError, Variable
from django.template.loader_tags import BLOCK_CONTEXT_KEY
from django.utils.functional import SimpleLazyObject

from beaker_regions.config.options import lifetime
from beaker_regions.django.manager import region_named
from beaker_regions.django.pages.dependencies import Need, fetch, look, recorder, recording, use
from beaker_regions.django.pages.surroundings import surroundings
from beaker_regions.engine.drivers import run
from beaker_regions.entries import keys
from beaker_regions.entries.entry import (
    Entry,
    address_of,
    entry_scope,
    function_scope,
    region_scope,
    tag_scope,
)
from beaker_regions.entries.freshness import Policy
from beaker_regions.errors import UnkeyableArgumentError
from beaker_regions.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django.template.base import FilterExpression, NodeList
    from django.template.context import Context

    from beaker_regions.django.pages.dependencies import Found, Recorder
    from beaker_regions.engine.region import Region


class Fragment(NamedTuple):
    """A rendered block as it is stored."""

    text: str
    needs: tuple[Need, ...] = ()
    storable: bool = True


class Arguments(NamedTuple):
    """What a tag says, not yet resolved."""

    tag: str
    region: FilterExpression
    keys: tuple[FilterExpression, ...]
    named: Mapping[str, FilterExpression]
    tags: FilterExpression | None
    expire: FilterExpression | None


class Place(NamedTuple):
    """Where the texts of a block lie, but for their keys."""

    identity: bytes
    scopes: tuple[str, ...]


class Block:
    """A part of a template whose text is kept."""

    def __init__(self, template: str, number: int, source: str, arguments: Arguments) -> None:
        self.name = f"{template}#{number}"
        self.title = f"{{% {arguments.tag} %}} number {number} in {template}"
        digest = hashlib.blake2b(source.encode(), digest_size=16).digest()
        self._identity = keys.encode(("template", template, number, digest))
        self._arguments = arguments
        # {% block %} and {{ block.super }} show what other templates have.
        self._inherits = "block" in source

    def region(self, context: Context) -> Region:
        return region_named(str(self._resolve(self._arguments.region, context)))

    def policy(self, region: Region, context: Context) -> Policy:
        options, expire = region.options, self._arguments.expire
        try:
            life = options.expire if expire is None else lifetime(self._resolve(expire, context))
        except ValueError as error:
            raise TemplateSyntaxError(f"{self.title}: expire: {error}") from error
        policy = Policy(life, options.grace, options.early, lambda fragment: fragment.storable)
        region.policies[self.name] = policy
        return policy

    def place(self, region: Region, context: Context) -> Place:
        """Return what the entries of all texts of one rendering share."""
        around = (
            surroundings(),
            region.name,
            context.autoescape,
            context.use_l10n,
            context.use_tz,
            _filled(context) if self._inherits else None,
        )
        scopes = (function_scope(region.name, self.name), region_scope(region.name))
        return Place(self._identity + keys.encode(around), scopes)

    def entry(self, place: Place, context: Context) -> Entry:
        """Return where one text is stored. Raises UnkeyableArgumentError."""
        arguments = self._arguments
        given = [self._resolve(each, context) for each in arguments.keys]
        named = {name: self._resolve(each, context) for name, each in arguments.named.items()}
        try:
            key = keys.encode((given, named))
        except (TypeError, ValueError, RecursionError) as error:
            raise UnkeyableArgumentError(f"{self.title}: a key: {error}") from error
        address = address_of(place.identity, key)
        tags = map(tag_scope, self._tags(context, named))
        return Entry(self.name, address, (entry_scope(address), *place.scopes, *tags))

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
            # A mistyped key would be nothing, and so one for all: better an error.
            expression.var.resolve(context)
        return expression.resolve(context)


def _filled(context: Context) -> Any:
    """Return which templates fill the blocks of the one that is being rendered."""
    blocks = context.render_context.get(BLOCK_CONTEXT_KEY)
    if blocks is None:
        return None
    top = context.template

    def template_of(node: Any) -> str:
        if name := node.origin.template_name:
            return str(name)
        # Made of a text. One that is not the first has nothing that tells it from others.
        return top.source if top and node.origin is top.origin else secrets.token_hex()

    queues = sorted(blocks.blocks.items())
    return [(name, [template_of(node) for node in nodes]) for name, nodes in queues]


class Part(NamedTuple):
    """One text to be had: the context that is pushed for it, and where it is kept."""

    variables: dict[str, Any]
    entry: Entry


def texts(
    block: Block, nodes: NodeList, context: Context, variables: Iterable[dict[str, Any]]
) -> list[str]:
    """Return the block's text for each of ``variables``, which are pushed on the context: what is
    stored is fetched in one round trip to each server, the rest is rendered."""
    parts = []
    region = block.region(context)
    policy, place = block.policy(region, context), block.place(region, context)
    for pushed in variables:
        with context.push(**pushed):
            parts.append(Part(pushed, block.entry(place, context)))
    around = recorder()
    if not region.enabled:
        if around is not None:
            around.unknown = True
        return [_rendered(block, nodes, context, part.variables).text for part in parts]
    if tracing.watchers:
        with tracing.call(region.name, block.name, len(parts)):
            return _texts(block, nodes, context, region, policy, parts, around)
    return _texts(block, nodes, context, region, policy, parts, around)


def _texts(
    block: Block,
    nodes: NodeList,
    context: Context,
    region: Region,
    policy: Policy,
    parts: list[Part],
    around: Recorder | None,
) -> list[str]:
    found = look(region, [part.entry for part in parts], policy)
    return [
        _text(block, nodes, context, region, policy, part, each, around)
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
    around: Recorder | None,
) -> str:
    need = None if around is None else use(region, part.entry, policy, found)

    def load() -> Fragment:
        return _rendered(block, nodes, context, part.variables)

    fragment: Fragment = run(fetch(region, part.entry, policy, found), load)
    if around is not None:
        around.needs |= dict.fromkeys(fragment.needs)
        if need is None:
            around.unknown = True
        else:
            around.needs[need] = None
    return fragment.text


def _rendered(
    block: Block, nodes: NodeList, context: Context, variables: dict[str, Any]
) -> Fragment:
    around = recorder()
    with recording() as used, _noticing_tokens(context, used), context.push(**variables):
        text = nodes.render(context)
    if used.refused:
        if settings.DEBUG:
            raise TemplateSyntaxError(
                f"{block.title} contains {used.refused}, which is of one request, and would be "
                f"everybody's: put it outside"
            )
        if around is not None:
            around.refused = around.refused or used.refused
    if around is not None and used.unknown:
        around.unknown = True
    # The text alone, without Django's mark that it is safe: a template's always is.
    return Fragment("".join([text]), tuple(used.needs), not used.refused and not used.unknown)


@contextmanager
def _noticing_tokens(context: Context, used: Recorder) -> Iterator[None]:
    """Notice in this block who asks for a CSRF token: the context, or ``get_token``."""
    request = getattr(context, "request", None) or context.get("request")
    meta = getattr(request, "META", {})
    asked = meta.pop(_ASKED, None)
    token = context.get("csrf_token")

    def notice() -> str:
        used.refused = used.refused or "{% csrf_token %}"
        return str(token)

    try:
        with context.push(**({} if token is None else {"csrf_token": SimpleLazyObject(notice)})):
            yield
    finally:
        if meta.get(_ASKED):
            used.refused = used.refused or "{% csrf_token %}"
        elif asked is not None:
            meta[_ASKED] = asked


_ASKED = "CSRF_COOKIE_NEEDS_UPDATE"
