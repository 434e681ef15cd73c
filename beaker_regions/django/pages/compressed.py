"""Stored pages that are compressed once, and filled without being compressed again.

A gzip stream is a sequence of blocks. The texts of a page are compressed once. A placeholder's
content is put between them, in blocks of its own that are not compressed. All tokens of a response
are equal, so only the first one is written: at the others, the compressed text refers to it.

So the length of an answer says nothing about its token (BREACH, https://breachattack.com). A random
length is added, as Django's `GZipMiddleware` does, because of the other texts.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from typing import NamedTuple, Self

from beaker_regions.django.pages.origin import ORIGIN
from beaker_regions.django.pages.placeholders import TOKEN, Pieces, join

_TOKENS = bytes(range(0x80, 0xC0)), bytes(range(0xC0, 0x100))
"""Stand for tokens. The first one does while a page is compressed: its bytes are all different, so
that it is referred to as a whole."""
_REACH = 30_000
"""Bytes after which a token is written again. Compressed text refers to 32 KB before it at most."""
_LEVEL = 6
_START = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"
"""The header of a stream that has a name. The name is ignored, so its length may be random."""
_MOST_RANDOM = 100
_END = b"\x01\0\0\xff\xff"
"""An empty block that is the last."""
_LONGEST = 0xFFFF
"""Bytes of a block."""


def gunzipped(content: bytes) -> bytes:
    return zlib.decompress(content, 16 + zlib.MAX_WBITS)


class CompressedPage(NamedTuple):
    """A page whose texts are compressed."""

    blocks: tuple[bytes, ...]
    """The compressed texts: one more than placeholders."""
    placeholders: tuple[str, ...]
    """Those whose content is written."""

    @property
    def size(self) -> int:
        """The bytes of memory that it takes, about."""
        return sum(map(len, self.blocks))

    @classmethod
    def of(cls, pieces: Pieces) -> Self | None:
        """Compress the pieces of a page, whose placeholders are tokens and origins; None if it has
        texts for which that is impossible."""
        made = cls._of(pieces)
        for token, origin in zip(_TOKENS, (b"", b"an origin"), strict=True):
            filled = {TOKEN: token, ORIGIN: origin}
            content = join(pieces, filled)
            try:
                if gunzipped(made.filled(filled, content)) != content:
                    return None
            except zlib.error:
                return None
        return made

    @classmethod
    def _of(cls, pieces: Pieces) -> Self:
        blocks, written = [], []
        before = text = b""
        """What compressed text can refer to, and what is not compressed yet."""
        for each, name in zip(pieces.texts, (*pieces.placeholders, None), strict=True):
            text += each
            reach = len(before) + len(text) - (before + text).rfind(_TOKENS[0])
            if name == TOKEN and _TOKENS[0] in before and reach < _REACH:
                text += _TOKENS[0]
                continue
            blocks.append(_compressed(text, before))
            if name is not None:
                written.append(name)
                # How long an origin is differs, so nothing before it can be referred to.
                before = before + text + _TOKENS[0] if name == TOKEN else b""
            text = b""
        return cls(tuple(blocks), tuple(written))

    def filled(self, filled: Mapping[str, bytes], content: bytes) -> bytes:
        """Return the stream. ``filled`` has the contents of the placeholders, and ``content`` is
        the whole page with them."""
        parts = [_START, b"a" * secrets.randbelow(_MOST_RANDOM), b"\0", self.blocks[0]]
        for block, name in zip(self.blocks[1:], self.placeholders, strict=True):
            for at in range(0, len(filled[name]), _LONGEST):
                stored = filled[name][at : at + _LONGEST]
                size = len(stored).to_bytes(2, "little")
                parts += (b"\0", size, bytes([size[0] ^ 0xFF, size[1] ^ 0xFF]), stored)
            parts.append(block)
        parts.append(_END)
        for number in (zlib.crc32(content), len(content) & 0xFFFFFFFF):
            parts.append(number.to_bytes(4, "little"))
        return b"".join(parts)


def _compressed(text: bytes, before: bytes) -> bytes:
    """Return blocks that end with a whole byte. They refer to the text before."""
    options = (zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY)
    # zlib never refers to the first byte.
    compressing = zlib.compressobj(_LEVEL, *options, zdict=b"\0" + before[-_REACH - 1000 :])
    return compressing.compress(text) + compressing.flush(zlib.Z_SYNC_FLUSH)
