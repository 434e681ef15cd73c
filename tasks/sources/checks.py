"""Checks of content by the digest that a manifest has."""

from __future__ import annotations

import hashlib

_NAMES = {"md5": "MD5", "blake2b": "BLAKE2b"}


class Check:
    """The digest of content that is being read, beside the one that it should have."""

    def __init__(self, kind: str, expected: str) -> None:
        """Expect a digest in hexadecimal, of a kind that `hashlib` names."""
        self._hash = hashlib.new(kind, usedforsecurity=False)
        self._kind = kind
        self._expected = expected

    def update(self, chunk: bytes) -> None:
        """Add content."""
        self._hash.update(chunk)

    def verify(self) -> None:
        """Raise OSError unless the content has the expected digest."""
        digest = self._hash.hexdigest()
        if digest != self._expected:
            raise mismatch(self._kind, digest, self._expected)


def check_of(expected: tuple[str, str] | None) -> Check | None:
    """Return the check of a kind and a digest. None if none is expected, or a SHA-256, which the
    region computes anyway."""
    return None if expected is None or expected[0] == "sha256" else Check(*expected)


def mismatch(kind: str, digest: str, expected: str) -> OSError:
    """Return the error for content that has another digest than it should have."""
    name = _NAMES.get(kind) or f"SHA-{kind.removeprefix('sha')}"
    return OSError(f"has the {name} {digest}, and should have {expected}")
