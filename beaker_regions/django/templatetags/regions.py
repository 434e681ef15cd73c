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

from typing import TYPE_CHECKING

from django.template import Library, Node, TemplateSyntaxError
from django.template.base import token_kwargs

from beaker_regions.django.pages import placeholders
from beaker_regions.django.pages.fragments import Arguments, Block, texts

if TYPE_CHECKING:
    from typing import Any

    from django.template.base import FilterExpression, NodeList, Parser, Token
    from django.template.context import Context
    from django.utils.safestring import SafeString

register = Library()


class RegionNode(Node):
    def __init__(self, block: Block, nodelist: NodeList) -> None:
        self.block = block
        self.nodelist = nodelist

    def render(self, context: Context) -> str:
        (text,) = texts(self.block, self.nodelist, context, [{}])
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
        return "".join(texts(self.block, self.nodelist, context, map(self._variables, items)))

    def _variables(self, item: Any) -> dict[str, Any]:
        if len(self.names) == 1:
            return {self.names[0]: item}
        return dict(zip(self.names, item, strict=True))


@register.tag("region")
def do_region(parser: Parser, token: Token) -> RegionNode:
    """Keep what stands between ``{% region NAME key … %}`` and ``{% endregion %}`` in a region.

    Keys tell the texts apart; those with a name may stand in ``tags="list:{name} …"``. ``expire``
    is seconds. A fragment is stale as soon as one that it contains is. What is set inside stays
    inside.
    """
    tag, *bits = token.split_contents()
    arguments = _arguments(parser, tag, bits)
    nodelist, _, source = _body(parser, "endregion")
    return RegionNode(_block(parser, token, source, arguments), nodelist)


@register.tag("regionfor")
def do_regionfor(parser: Parser, token: Token) -> RegionForNode:
    """As ``{% for x in list %}…{% empty %}…{% endfor %}`` with a ``{% region %}`` around each
    round, which all come in one round trip. There is no ``forloop``: it would be stored."""
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
def hole(context: Context, template: str) -> SafeString:
    """Include a template that, in a page that is kept in a region, is rendered for each request.
    It is given what the request's context processors give, and nothing of this template."""
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        raise TemplateSyntaxError(f'{{% hole "{template}" %}} needs a request in the context')
    return placeholders.hole(request, template)


def _arguments(parser: Parser, tag: str, bits: list[str]) -> Arguments:
    given: list[FilterExpression] = []
    named: dict[str, FilterExpression] = {}
    for bit in bits:
        pair = token_kwargs([bit], parser)
        if named.keys() & pair.keys():
            raise TemplateSyntaxError(f"{{% {tag} %}}: {bit} is given twice")
        if named and not pair:
            raise TemplateSyntaxError(f"{{% {tag} %}}: put {bit} before what has a name")
        named |= pair
        given += [] if pair else [parser.compile_filter(bit)]
    if not given:
        raise TemplateSyntaxError(f"{{% {tag} %}}: name the region, then the keys")
    tags, expire = named.pop("tags", None), named.pop("expire", None)
    return Arguments(tag, given[0], tuple(given[1:]), named, tags, expire)


def _body(parser: Parser, end: str, *between: str) -> tuple[NodeList, NodeList | None, str]:
    """Parse up to the ``end`` tag. Returns what stands before and after the tag ``between``, and
    the source of it all."""
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
