"""Compressed pages: filled without being compressed again, they are the pages that they were."""

from __future__ import annotations

import zlib

from hypothesis import example, given
from hypothesis import strategies as st

from beaker_regions.django.pages.compressed import CompressedPage
from beaker_regions.django.pages.origin import ORIGIN
from beaker_regions.django.pages.placeholders import TOKEN, Pieces, join

MANY = b"<form>a form</form>" * 3
LONG = b"x" * 40_000
"""Longer than compressed text can refer to."""
ODD = bytes(range(0x80, 0xC0))
"""The bytes of a token while a page is compressed."""

part = st.tuples(st.sampled_from([b"", b"a", MANY, LONG, ODD]), st.sampled_from([TOKEN, ORIGIN]))


@given(st.lists(part, max_size=8), st.sampled_from([b"", MANY, ODD]))
@example([(MANY, TOKEN)] * 60, MANY)
@example([(MANY, TOKEN), (b"", TOKEN), (LONG, TOKEN), (MANY, ORIGIN), (MANY, TOKEN)], b"")
def test_a_compressed_page_unpacks_to_the_same_page(
    parts: list[tuple[bytes, str]], last: bytes
) -> None:
    texts = (*(text for text, _ in parts), last)
    pieces = Pieces(texts, tuple([name for _, name in parts]))
    compressed = CompressedPage.of(pieces)
    if compressed is None:
        assert ODD in texts, "only such a text cannot be compressed"
        return
    for filled in (
        {TOKEN: b"T" * 64, ORIGIN: b"origin" * 20_000},
        {TOKEN: b"aab" * 22, ORIGIN: b""},
    ):
        filled[TOKEN] = filled[TOKEN][:64]
        content = join(pieces, filled)
        assert zlib.decompress(compressed.filled(filled, content), 31) == content


def test_the_tokens_of_a_page_take_the_space_of_one() -> None:
    pieces = Pieces((MANY,) * 61, (TOKEN,) * 60)
    compressed = CompressedPage.of(pieces)
    assert compressed is not None
    filled = {TOKEN: b"0123456789abcdef" * 4}
    assert len(compressed.filled(filled, join(pieces, filled))) < 600
