"""Placeholders in stored pages: the parts that are filled for each request.

A placeholder stands for a CSRF token, or for a template that ``{% hole "messages.html" %}`` renders
for each request. While a page is rendered for the store:

* Django makes the CSRF tokens from a random secret that is used for this rendering only. All ways
  to get a token (``{% csrf_token %}``, ``get_token``, Jinja) return one. The tokens in the finished
  page are found by testing which texts of 64 characters are a masked form of that secret. Without
  the secret, such a text cannot be written into a page. A token in any other form is useless.
* A random text, also of this rendering only, marks the position of a template.

A template that shows only the messages (``{% hole "messages.html" shows="messages" %}``) is also
rendered once without any: a request without messages gets that text.

The texts between the placeholders are stored, so that a page is filled by one join. The token is
masked differently in each response (BREACH: https://breachattack.com).
"""

from __future__ import annotations

import os
import random
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from django.http import HttpRequest
from django.middleware.csrf import (
    CSRF_ALLOWED_CHARS,
    CSRF_SECRET_LENGTH,
    CSRF_TOKEN_LENGTH,
)
from django.template import loader
from django.utils.safestring import SafeString

from beaker_regions.django.pages.dependencies import current_recorder
from beaker_regions.django.pages.origin import ORIGIN, of_no_page
from beaker_regions.errors import ConfigurationError

TOKEN = ""
"""The name of a placeholder for the CSRF token; others, except for `ORIGIN`, are named by their
templates."""
MESSAGES = "\nmessages "
"""What the name of a placeholder begins with if its template shows only the messages."""

SECRET, NEEDS_COOKIE = "CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"
"""Keys of Django's CSRF protection in META: the secret; whether a token was used, and so the
cookie must be sent."""
RENEWED = 1 / 256
"""Share of responses that send the CSRF cookie to a browser that has one already. Django sends it
with each page that has a token, which takes longer than filling in the token. It lasts a year."""
_CHARACTERS = CSRF_ALLOWED_CHARS.encode()
_RANDOM = bytes(_CHARACTERS[number % len(_CHARACTERS)] for number in range(256))
"""The character for a random byte, or for the sum of two characters' numbers."""
_UNEVEN = bytes(range(256 - 256 % len(_CHARACTERS), 256))
"""Bytes that are left out: with them, some characters would be likelier than others."""
_NUMBERS = {character: number for number, character in enumerate(_CHARACTERS)}
_NUMBER_OF = bytes([_NUMBERS.get(byte, 0) for byte in range(256)])
_LONG_ENOUGH = re.compile(rb"[a-zA-Z0-9]{%d,}" % CSRF_TOKEN_LENGTH)


class Pieces(NamedTuple):
    """A text with placeholders: one more text than placeholders."""

    texts: tuple[bytes, ...]
    placeholders: tuple[str, ...]


class OpenPlaceholders:
    """In this block, a rendering for ``request`` gets placeholders."""

    def __init__(self, request: HttpRequest, *, templates: bool = True) -> None:
        self._request = request
        self._secret = _random(CSRF_SECRET_LENGTH)
        self._mark = f"hole{secrets.token_hex(16)}n" if templates else ""
        self._names: list[str] = []
        self.without_messages: dict[str, Callable[[str], Pieces]] = {}
        """From a charset to the text of a placeholder while there are no messages, by its name."""
        self.token_used = False
        """Whether the rendering used a token."""
        self.rotated = False
        """Whether the request got another secret, as at a login."""

    def __enter__(self) -> Self:
        meta = self._request.META
        self._before = {key: meta.pop(key) for key in (SECRET, NEEDS_COOKIE) if key in meta}
        meta[SECRET] = self._secret.decode()
        self._outer = getattr(self._request, "_open_placeholders", None)
        self._request._open_placeholders = self if self._mark else None  # type: ignore[attr-defined]
        return self

    def __exit__(self, *_: object) -> None:
        meta = self._request.META
        self._request._open_placeholders = self._outer  # type: ignore[attr-defined]
        self.token_used = bool(meta.get(NEEDS_COOKIE))
        self.rotated = meta.get(SECRET) != self._secret.decode()
        if not self.rotated:
            del meta[SECRET]
            meta.pop(NEEDS_COOKIE, None)
            meta.update(self._before)

    def mark(self, template: str) -> str:
        """Return a text that marks the position of a template."""
        self._names.append(template)
        return f"{self._mark}{len(self._names) - 1}x"

    def pieces(self, content: bytes) -> Pieces:
        """Split a rendered page at its placeholders."""
        found = [(at, CSRF_TOKEN_LENGTH, TOKEN) for at in self._tokens(content)]
        if self._names:
            marks = re.finditer(rb"%b(\d+)x" % self._mark.encode(), content)
            found += [(mark.start(), len(mark[0]), self._names[int(mark[1])]) for mark in marks]
        texts, end = [], 0
        for at, length, _ in sorted(found):
            texts.append(content[end:at])
            end = at + length
        texts.append(content[end:])
        return Pieces(tuple(texts), tuple([name for _, _, name in sorted(found)]))

    def is_hidden(self, pieces: Pieces, headers: Iterable[str]) -> bool:
        """Whether a placeholder is missing in the pieces: it was compressed, or is in a header."""
        if self.token_used and TOKEN not in pieces.placeholders:
            return True
        if not pieces.placeholders and not self._names:
            return False
        return not set(self._names) <= set(pieces.placeholders) or any(
            self.pieces(value.encode()).placeholders for value in headers
        )

    def _tokens(self, content: bytes) -> Iterator[int]:
        """Yield the position of each token of this rendering in the content."""
        if not self.token_used:
            return
        for run in _LONG_ENOUGH.finditer(content):
            at = run.start()
            while at + CSRF_TOKEN_LENGTH <= run.end():
                if self._is_token(content[at : at + CSRF_TOKEN_LENGTH]):
                    yield at
                    at += CSRF_TOKEN_LENGTH
                else:
                    at += 1

    def _is_token(self, text: bytes) -> bool:
        numbers, mask, cipher = _NUMBERS, text[:CSRF_SECRET_LENGTH], text[CSRF_SECRET_LENGTH:]
        return all(
            (numbers[masked] - numbers[key] - numbers[plain]) % len(_CHARACTERS) == 0
            for masked, key, plain in zip(cipher, mask, self._secret, strict=True)
        )


class Filling:
    """The content for a page's placeholders, for one request. ``origin``: where the page came from
    (`beaker_regions.django.pages.origin`)."""

    def __init__(
        self,
        request: HttpRequest,
        pieces: Pieces,
        charset: str,
        origin: Callable[[], bytes],
        without_messages: Iterable[tuple[str, Pieces]] = (),
    ) -> None:
        self._request = request
        self._pieces = pieces
        self._origin = origin
        self._templates = {} if getattr(request, "_messages", None) else dict(without_messages)
        rendered = set(pieces.placeholders) - {TOKEN, ORIGIN, *self._templates}
        self.has_rendered = bool(rendered)
        """Whether a template was rendered for this request."""
        for name in rendered:
            opened, text = _rendered(request, name.removeprefix(MESSAGES))
            self._templates[name] = opened.pieces(text.encode(charset))
        self._has_token = TOKEN in pieces.placeholders or any(
            each.placeholders for each in self._templates.values()
        )

    def identity(self) -> Iterator[bytes]:
        """Yield texts that identify this content. The masks of its tokens and its origin do not
        matter."""
        yield self.secret.encode()
        for name in dict.fromkeys(self._pieces.placeholders):
            if name in self._templates:
                yield from self._templates[name].texts

    def pieces(self) -> Pieces:
        """Return the page with its templates in it: only tokens and the origin are placeholders."""
        texts, placeholders = [self._pieces.texts[0]], []
        for text, name in zip(self._pieces.texts[1:], self._pieces.placeholders, strict=True):
            if name in self._templates:
                first, *rest = self._templates[name].texts
                texts[-1] += first
                texts += rest
                placeholders += [TOKEN] * len(rest)
                texts[-1] += text
            else:
                texts.append(text)
                placeholders.append(name)
        return Pieces(tuple(texts), tuple(placeholders))

    def filled(self) -> dict[str, bytes]:
        """Return the contents of a response's placeholders, by name. A response with a token sends
        its cookie now and then."""
        secret = self.secret
        if secret and random.random() < RENEWED:
            self._request.META[NEEDS_COOKIE] = True
        return contents(self._pieces, secret, self._origin, self._templates)

    def content(self) -> bytes:
        """Return the page, filled."""
        return join(self._pieces, self.filled())

    @property
    def secret(self) -> str:
        """The secret of its tokens; empty if it has none."""
        if not self._has_token:
            return ""
        meta = self._request.META
        if SECRET not in meta:
            # The same as Django's get_token makes, which reads the system's randomness 32 times.
            meta[SECRET], meta[NEEDS_COOKIE] = _random(CSRF_SECRET_LENGTH).decode(), True
        secret: str = meta[SECRET]
        return secret


def contents(
    pieces: Pieces, secret: str, origin: Callable[[], bytes], templates: Mapping[str, Pieces]
) -> dict[str, bytes]:
    """Return the contents of a page's placeholders, by name. ``secret``: that of its tokens, empty
    if it has none. ``templates``: their texts, by name."""
    filled = {TOKEN: _masked(secret.encode()) if secret else b""}
    if ORIGIN in pieces.placeholders:
        filled[ORIGIN] = origin()
    for name, template in templates.items():
        filled[name] = join(template, filled)
    return filled


def _masked(secret: bytes) -> bytes:
    """Return a token for a secret, in a fraction of the time that Django takes: all characters are
    added at once, as the bytes of one number."""
    mask = _random(len(secret))
    total = sum([int.from_bytes(text.translate(_NUMBER_OF)) for text in (secret, mask)])
    return mask + total.to_bytes(len(secret)).translate(_RANDOM)


def _random(length: int) -> bytes:
    """Return random characters, all of them equally likely."""
    found = b""
    while len(found) < length:
        found += os.urandom(2 * length).translate(_RANDOM, _UNEVEN)
    return found[:length]


def join(pieces: Pieces, filled: Mapping[str, bytes]) -> bytes:
    """Return the text with its placeholders filled; ``filled`` has their contents by name."""
    parts = [b""] * (2 * len(pieces.texts) - 1)
    parts[::2] = pieces.texts
    parts[1::2] = [filled[name] for name in pieces.placeholders]
    return b"".join(parts)


def hole(request: HttpRequest, template: str, shows: str = "") -> SafeString:
    """Render a template for each request, also inside a stored page: ``{% hole %}`` as a function.

    Args:
        request: The request that the page is rendered for.
        template: The template's name. Its context is that of the context processors.
        shows: "messages" if the template shows the visitor's messages, and beside them nothing that
            the page could not show itself. While there are none, it is not rendered again.

    Returns:
        The rendered template; while a page is rendered for the store, a placeholder for it. Put it
        into the page unchanged: a page in which it was encoded or compressed is not stored.

    Raises:
        ConfigurationError: ``shows`` has another value.

    Example:
        ``hole(request, "messages.html")`` in the context of a Jinja template.
    """
    if shows not in ("", "messages"):
        raise ConfigurationError(
            f'hole {template!r}: shows={shows!r}: write shows="messages", or leave it out'
        )
    open_placeholders: OpenPlaceholders | None = getattr(request, "_open_placeholders", None)
    recorder = current_recorder()
    if recorder is not None:
        recorder.of_request = recorder.of_request or f'{{% hole "{template}" %}}'
    if open_placeholders is None:
        return loader.render_to_string(template, request=request)
    if not shows:
        return SafeString(open_placeholders.mark(template))
    name = f"{MESSAGES}{template}"
    open_placeholders.without_messages[name] = _rendered_without_messages(request, template)
    return SafeString(open_placeholders.mark(name))


def page_origin(request: HttpRequest) -> SafeString:
    """Return the line that says where the page came from, as HTML: a ``details``, or a ``p`` for an
    answer that no `region_page` makes."""
    open_placeholders: OpenPlaceholders | None = getattr(request, "_open_placeholders", None)
    recorder = current_recorder()
    if recorder is not None:
        recorder.of_request = recorder.of_request or "{% page_origin %}"
    if open_placeholders is None:
        return of_no_page()
    return SafeString(open_placeholders.mark(ORIGIN))


def _rendered(request: HttpRequest, template: str) -> tuple[OpenPlaceholders, str]:
    with OpenPlaceholders(request, templates=False) as opened:
        return opened, loader.render_to_string(template, request=request)


def _rendered_without_messages(request: Any, template: str) -> Callable[[str], Pieces]:
    """Return a function from a charset to the template without messages."""
    messages = getattr(request, "_messages", None)
    request._messages = ()
    try:
        opened, text = _rendered(request, template)
    finally:
        request._messages = messages
    return lambda charset: opened.pieces(text.encode(charset))
