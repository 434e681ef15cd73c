"""Holes in cached pages: the parts that every request fills with its own.

A hole is where a CSRF token stands, or where ``{% hole "messages.html" %}`` puts a template that
is rendered for the request at hand. While a page is rendered for the store:

* Django makes its tokens of a secret that is random, of this rendering, and nobody's. Whatever
  asks for a token (``{% csrf_token %}``, ``get_token``, Jinja) gets one, and those in the finished
  page are found by trying which 64 characters are a masked form of that secret. Nobody can write
  such a text into a page without knowing the secret, and a token that the page carries in another
  form is worth nothing.
* A template's place is marked with a random text, of this rendering too.

What is stored is the text between the holes, so that filling them is one join. The token is
masked anew for each response (BREACH: https://breachattack.com).
"""

from __future__ import annotations

import os
import random
import re
import secrets
from typing import TYPE_CHECKING, NamedTuple, Self

from django.middleware.csrf import (
    CSRF_ALLOWED_CHARS,
    CSRF_SECRET_LENGTH,
    CSRF_TOKEN_LENGTH,
)
from django.template import loader
from django.utils.safestring import SafeString

from beaker_regions.django.pages.dependencies import recorder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.http import HttpRequest

TOKEN = ""
"""The name of a hole for the CSRF token; others are named by their templates."""

_SECRET, _ASKED = "CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"
"""Where Django's CSRF protection keeps a request's secret, and whether a token was asked for."""
RENEWED = 1 / 32
"""How many of the pages renew the cookie of a browser that has one. Django sends it with each page
that has a token, which takes longer than filling in the token; it is to last for a year."""
_CHARACTERS = CSRF_ALLOWED_CHARS.encode()
_RANDOM = bytes(_CHARACTERS[number % len(_CHARACTERS)] for number in range(256))
_UNEVEN = bytes(range(256 - 256 % len(_CHARACTERS), 256))
"""Bytes that would make some characters likelier than others."""
_NUMBERS = {character: number for number, character in enumerate(_CHARACTERS)}
_LONG_ENOUGH = re.compile(rb"[a-zA-Z0-9]{%d,}" % CSRF_TOKEN_LENGTH)


class Pieces(NamedTuple):
    """A text with holes: one more text than holes."""

    texts: tuple[bytes, ...]
    holes: tuple[str, ...]


class OpenPlaceholders:
    """While in this block, what is rendered for ``request`` gets holes."""

    def __init__(self, request: HttpRequest, *, templates: bool = True) -> None:
        self._request = request
        self._secret = _random(CSRF_SECRET_LENGTH)
        self._mark = f"hole{secrets.token_hex(16)}n" if templates else ""
        self._names: list[str] = []
        self.token_asked = False
        """Whether anything has asked for a token."""
        self.rotated = False
        """Whether the request has got another secret, as at a login."""

    def __enter__(self) -> Self:
        meta = self._request.META
        self._before = {key: meta.pop(key) for key in (_SECRET, _ASKED) if key in meta}
        meta[_SECRET] = self._secret.decode()
        self._outer = getattr(self._request, "_open_holes", None)
        self._request._open_holes = self if self._mark else None  # type: ignore[attr-defined]
        return self

    def __exit__(self, *_: object) -> None:
        meta = self._request.META
        self._request._open_holes = self._outer  # type: ignore[attr-defined]
        self.token_asked = bool(meta.get(_ASKED))
        self.rotated = meta.get(_SECRET) != self._secret.decode()
        if not self.rotated:
            del meta[_SECRET]
            meta.pop(_ASKED, None)
            meta.update(self._before)

    def mark(self, template: str) -> str:
        """Return a text that stands for a hole."""
        self._names.append(template)
        return f"{self._mark}{len(self._names) - 1}x"

    def pieces(self, content: bytes) -> Pieces:
        """Return what was rendered, taken apart at its holes."""
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
        """Whether a token or a hole is elsewhere than in the pieces: compressed, in a header."""
        if self.token_asked and TOKEN not in pieces.holes:
            return True
        if not pieces.holes and not self._names:
            return False
        return not set(self._names) <= set(pieces.holes) or any(
            self.pieces(value.encode()).holes for value in headers
        )

    def _tokens(self, content: bytes) -> Iterator[int]:
        """Yield where in the content a token of this rendering begins."""
        if not self.token_asked:
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
            (numbers[masked] - numbers[by] - numbers[plain]) % len(_CHARACTERS) == 0
            for masked, by, plain in zip(cipher, mask, self._secret, strict=True)
        )


class Filling:
    """What a request puts into the holes of a page."""

    def __init__(self, request: HttpRequest, pieces: Pieces, charset: str) -> None:
        self._request = request
        self._pieces = pieces
        self._templates = {
            name: _rendered(request, name, charset)
            for name in dict.fromkeys(pieces.holes)
            if name != TOKEN
        }
        self._has_token = TOKEN in pieces.holes or any(
            each.holes for each in self._templates.values()
        )

    def identity(self) -> Iterator[bytes]:
        """Yield what tells this filling from others, whatever the tokens' mask."""
        if self._has_token:
            yield self._secret().encode()
        for template in self._templates.values():
            yield from template.texts

    def content(self) -> bytes:
        """Return the page, filled."""
        token = b""
        if self._has_token:
            token = _masked(self._secret().encode())
            if random.random() < RENEWED:
                self._request.META[_ASKED] = True
        filled = {name: token.join(each.texts) for name, each in self._templates.items()}
        filled[TOKEN] = token
        return join(self._pieces, filled)

    def _secret(self) -> str:
        meta = self._request.META
        if _SECRET not in meta:
            # As Django's get_token makes one, which asks the system 32 times for randomness.
            meta[_SECRET], meta[_ASKED] = _random(CSRF_SECRET_LENGTH).decode(), True
        secret: str = meta[_SECRET]
        return secret


def _masked(secret: bytes) -> bytes:
    """Return a secret in the form that Django gives it in a page, in a fifth of the time."""
    mask = _random(len(secret))
    cipher = bytes(
        [
            _CHARACTERS[(_NUMBERS[x] + _NUMBERS[y]) % len(_CHARACTERS)]
            for x, y in zip(secret, mask, strict=True)
        ]
    )
    return mask + cipher


def _random(length: int) -> bytes:
    """Return random characters, all of them equally likely."""
    found = b""
    while len(found) < length:
        found += os.urandom(2 * length).translate(_RANDOM, _UNEVEN)
    return found[:length]


def join(pieces: Pieces, filled: dict[str, bytes]) -> bytes:
    """Return the text with its holes filled, by their names."""
    parts = [b""] * (2 * len(pieces.texts) - 1)
    parts[::2] = pieces.texts
    parts[1::2] = [filled[name] for name in pieces.holes]
    return b"".join(parts)


def hole(request: HttpRequest, template: str) -> SafeString:
    """Return ``template`` rendered for the request and with nothing but the request: what its
    context processors give. In a page that is kept in a region this is done for each request.

    The text must go into the page as it is.
    """
    opened: OpenPlaceholders | None = getattr(request, "_open_holes", None)
    around = recorder()
    if around is not None:
        around.refused = around.refused or f'{{% hole "{template}" %}}'
    if opened is None:
        return loader.render_to_string(template, request=request)
    return SafeString(opened.mark(template))


def _rendered(request: HttpRequest, template: str, charset: str) -> Pieces:
    with OpenPlaceholders(request, templates=False) as opened:
        text = loader.render_to_string(template, request=request)
    return opened.pieces(text.encode(charset))
