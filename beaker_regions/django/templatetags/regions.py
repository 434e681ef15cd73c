"""Template tags: ``{% load regions %}``.

{% region "functions" task_id=task.pk version=task.version tags="task:{task_id}" %}
  …
{% endregion %}

{% regionfor task in tasks "functions" task_id=task.pk tags="task:{task_id}" %}
  …
{% empty %}
  …
{% endregionfor %}

{% hole "messages.html" %}
"""

from __future__ import annotations

from typing import Any

from django.template import Library, Node, TemplateSyntaxError
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.utils.safestring import SafeString

from beaker_regions.django.pages import placeholders
from beaker_regions.django.pages.fragments import Arguments, Block, fragment_texts

register = Library()


class RegionNode(Node):
    def __init__(self, block: Block, nodelist: NodeList) -> None:
        self.block = block
        self.nodelist = nodelist

    def render(self, context: Context) -> str:
        (text,) = fragment_texts(self.block, self.nodelist, context, [{}])
        return text


class RegionForNode(Node):
    child_nodelists = ("nodelist", "nodelist_empty")

    def __init__(
        self,
        names: list[str],
        sequence: FilterExpression,
        block: Block,
        nodelist: NodeList,
        nodelist_empty: NodeList | None,
    ) -> None:
        self.names = names
        self.sequence = sequence
        self.block = block
        self.nodelist = nodelist
        self.nodelist_empty = nodelist_empty

    def render(self, context: Context) -> str:
        items = list(self.sequence.resolve(context, ignore_failures=True) or ())
        if not items:
            return "" if self.nodelist_empty is None else self.nodelist_empty.render(context)
        return "".join(
            fragment_texts(self.block, self.nodelist, context, map(self._variables, items))
        )

    def _variables(self, item: Any) -> dict[str, Any]:
        if len(self.names) == 1:
            return {self.names[0]: item}
        return dict(zip(self.names, item, strict=True))


@register.tag("region")
def do_region(parser: Parser, token: Token) -> RegionNode:
    """Store the text between ``{% region %}`` and ``{% endregion %}`` in a region.

    Example::

        {% region "functions" pk=task.pk tags="task:{pk}" expire=600 %}…{% endregion %}

    Args:
        region: The region's name, first.
        key: Any number of values, with or without names. Each combination has its own text.
        tags: Tags, separated by spaces; ``{name}`` stands for the key of that name. Or a list.
        expire: Seconds until the text expires; without it, the region's.
        depends_on: "expiry" if the text may be older than the rows in it, until it expires.

    A fragment becomes stale when a fragment inside it does. Variables that are set inside are not
    visible outside.

    Raises:
        TemplateSyntaxError: The arguments are wrong, or in DEBUG the text belongs to one request.
        ConfigurationError: There is no such region.
        UnkeyableArgumentError: A value cannot be part of a key.
    """
    tag, *bits = token.split_contents()
    arguments = _arguments(parser, tag, bits)
    nodelist, _, source = _body(parser, "endregion")
    return RegionNode(_block(parser, token, source, arguments), nodelist)


@register.tag("regionfor")
def do_regionfor(parser: Parser, token: Token) -> RegionForNode:
    """Loop over a list, with a ``{% region %}`` around the text of each item.

    Example::

        {% regionfor task in tasks "functions" pk=task.pk tags="task:{pk}" %}
          …
        {% empty %}
          …
        {% endregionfor %}

    Args:
        x in list: One or more variables, and a list, as in ``{% for %}``.
        The other arguments are those of ``{% region %}``.

    All stored texts are fetched in one round trip to each server. There is no ``forloop``: it
    would be stored.

    Raises:
        TemplateSyntaxError, ConfigurationError, UnkeyableArgumentError: As ``{% region %}``.
    """
    tag, *bits = token.split_contents()
    try:
        at = bits.index("in")
        names = [name for name in "".join(bits[:at]).split(",") if name]
        sequence = parser.compile_filter(bits[at + 1])
    except (ValueError, IndexError):
        names = []
    if not names:
        raise TemplateSyntaxError(
            f'{token.contents}: write {{% {tag} x in list "region" key … tags="…" %}}'
        )
    arguments = _arguments(parser, tag, bits[at + 2 :])
    nodelist, empty, source = _body(parser, "endregionfor", "empty")
    return RegionForNode(names, sequence, _block(parser, token, source, arguments), nodelist, empty)


@register.simple_tag(takes_context=True)
def hole(context: Context, template: str, shows: str = "") -> SafeString:
    """Include a template that is rendered for each request, also inside a stored page.

    Example::

        {% hole "messages.html" %}

    Args:
        template: The template's name. Its context is that of the context processors; it has no
            variable of the including template.
        shows: "messages" if the template shows the visitor's messages, and beside them nothing that
            the page could not show itself. While there are none, it is not rendered again.

    Raises:
        TemplateSyntaxError: The context has no request.
        ConfigurationError: ``shows`` has another value.
    """
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        raise TemplateSyntaxError(
            f'{{% hole "{template}" %}} needs a request: render the template with one'
        )
    return placeholders.hole(request, template, shows)


@register.simple_tag(takes_context=True)
def page_origin(context: Context) -> SafeString:
    """Say where the page came from, for each request: from the cache or loaded now, when it was
    stored, and what that saved. It opens to the page's region and tags, and what its load called.

    Example::

        {% page_origin %}

    Raises:
        TemplateSyntaxError: The context has no request.
    """
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        raise TemplateSyntaxError("{% page_origin %} needs a request: render the template with one")
    return placeholders.page_origin(request)


def _arguments(parser: Parser, tag: str, bits: list[str]) -> Arguments:
    given: list[FilterExpression] = []
    named: dict[str, FilterExpression] = {}
    for bit in bits:
        pair = token_kwargs([bit], parser)
        if named.keys() & pair.keys():
            raise TemplateSyntaxError(f"{{% {tag} %}}: {bit} is given twice")
        if named and not pair:
            raise TemplateSyntaxError(f"{{% {tag} %}}: put {bit} before the arguments with a name")
        named |= pair
        given += [] if pair else [parser.compile_filter(bit)]
    if not given:
        raise TemplateSyntaxError(f"{{% {tag} %}}: name the region, then the keys")
    options = [named.pop(name, None) for name in ("tags", "expire", "depends_on")]
    return Arguments(tag, given[0], tuple(given[1:]), named, *options)


def _body(parser: Parser, end: str, *between: str) -> tuple[NodeList, NodeList | None, str]:
    """Parse up to the ``end`` tag. Returns the nodes before and after the tag ``between``, and
    the source of all of them."""
    tokens: Any = parser.tokens
    before = list(tokens)
    nodelist, second = parser.parse((*between, end)), None
    if parser.next_token().contents != end:
        second = parser.parse((end,))
        parser.delete_first_token()
    consumed = before[len(tokens) :]
    source = "\n".join(f"{each.token_type} {each.contents}" for each in consumed)
    return nodelist, second, source


def _block(parser: Parser, token: Token, source: str, arguments: Arguments) -> Block:
    number = getattr(parser, "_region_blocks", 0) + 1
    parser._region_blocks = number  # type: ignore[attr-defined]
    origin = getattr(parser, "origin", None)
    template = getattr(origin, "template_name", None) or "<template>"
    return Block(str(template), number, f"{token.contents}\n{source}", arguments)
