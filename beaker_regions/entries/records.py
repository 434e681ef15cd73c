"""Stored records: a header, a payload, and a code that authenticates both.

Nothing of a record is unpickled before its code has been checked with a key that only this
application has. The code also covers the kind of store and the entry's address, so a genuine
record that is moved to another entry, or to another kind of store, is refused as well.

Layout, in bytes (integers and floats little-endian)::

    0   magic and format version (4)
    4   message authentication code (16)
    20  codec (1), number of generations n (2), bytes of the scopes m (4)
    27  stored at, seconds since the epoch (8, float)
    35  expire, seconds (8, float; infinity: never)
    43  duration of the load, seconds (4, float)
    47  turn in which it was loaded (8)
    55  n generations (8 each)
    ..  scopes (m)
    ..  payload: the rest

The code is keyed BLAKE2b (RFC 7693) over the magic, the kind of store with its length before it,
the address, and all that follows the code. Of a payload that ends with content (`Codec.CONTENT`),
it covers the description, which has the digest of the content. An address has one size, and the
sizes of all that follows stand in the header. So each part begins and ends where the code says, and
no part of a genuine record can be passed off as another part.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import hmac
import pickle
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from beaker_regions.entries import shapes

_NAME = b"BRG"
MAGIC = _NAME + b"\x04"
_DOMAIN = b"beaker_regions"
"""Distinguishes these codes from any other use of the same secret."""
ADDRESS_SIZE = 20
"""Bytes; the chance that two of a billion billion entries share an address is below 1e-12."""
AHEAD = 60.0
"""Seconds by which the clock of a writer may be ahead of this one. If it is further ahead,
the age of the record is unknown, and it counts as expired."""
GENERATION_SIZE = 8
"""Bytes of a generation. It is random, so an old one never comes back."""
TURN_SIZE = 8
"""Bytes of a turn of an entry's lease. It is random as well."""
NO_TURN = bytes(TURN_SIZE)
"""The turn of a value that was loaded without a lease."""

_CODE_SIZE = 16
_BODY = len(MAGIC) + _CODE_SIZE
_HEADER = struct.Struct(f"<BHIddf{TURN_SIZE}s")


class Codec(enum.IntEnum):
    """How a payload turns back into a value."""

    PICKLE = 0
    BYTES = 1
    TEXT = 2
    FILE = 3
    """The payload describes a content file beside the record
    (`beaker_regions.stores.files.content`)."""
    DEFLATED = 4
    """The payload is another codec's number and that codec's payload, compressed with zlib."""
    PARTS = 5
    """The payload describes the parts of the value (`beaker_regions.stores.memcached.chunks`)."""
    CONTENT = 6
    """As FILE, and the content follows in the payload (`with_content`). The code covers the
    description alone. The digest there covers the content, and is checked before it is used."""


_DESCRIBED = struct.Struct("<H")
"""The bytes of the description in a payload of codec CONTENT."""

DEFLATE_FROM = 32 * 1024
"""Bytes. Compressing a smaller payload takes longer than it saves."""


_CODECS = tuple(Codec)


SHORT = 32 * 1024
"""Bytes. A record of this size is authenticated and unpickled within a fraction of a
millisecond, as a rule."""
_AS_IT_IS = frozenset((Codec.PICKLE, Codec.BYTES, Codec.TEXT))


class RecordRefusedError(ValueError):
    """The bytes are not a record of this application: foreign, forged, moved or cut short."""


class OtherFormatError(RecordRefusedError):
    """Another release may have stored these bytes, in its own format. They are not used."""


class Record(NamedTuple):
    """A value's stored form, and all facts that decide whether it may still be served."""

    generations: tuple[bytes, ...]
    """The generations under which the load of the value began."""
    stored_at: float
    """Seconds since the epoch."""
    expire: float
    """Seconds, as configured when it was stored; infinity: never."""
    load_seconds: float
    codec: Codec
    payload: bytes | memoryview
    scopes: bytes = b""
    """The scopes of the generations, for a store's maintenance, which knows no functions."""
    turn: bytes = NO_TURN
    """The turn of the lease under which it was loaded (`beaker_regions.engine.waiting`)."""

    @classmethod
    def begun(
        cls,
        generations: Sequence[bytes | None],
        expire: float,
        load_seconds: float = 0.0,
        turn: bytes = NO_TURN,
    ) -> Record:
        """Return the record of a value that was loaded now under these generations, all of which
        exist; its payload is not made yet."""
        known = tuple([each for each in generations if each is not None])
        return cls(known, time.time(), expire, load_seconds, Codec.PICKLE, b"", turn=turn)

    def with_payload(self, codec: Codec, payload: bytes) -> Record:
        """Return the record with its value, now that the value is all there. A stream, or a query
        set, is loaded while its payload is made, so that time is a part of the load."""
        reading = max(0.0, time.time() - self.stored_at)
        return self._replace(codec=codec, payload=payload, load_seconds=self.load_seconds + reading)

    @property
    def is_short(self) -> bool:
        """Whether `load_value` takes much less than a millisecond, as a rule."""
        return self.codec in _AS_IT_IS and len(self.payload) <= SHORT


def dump_value(value: Any) -> tuple[Codec, bytes]:
    """Return codec and payload of a value. Raises pickle's error if the value cannot be pickled."""
    cls = type(value)
    if cls is bytes:
        return Codec.BYTES, value
    if cls is str:
        return Codec.TEXT, value.encode("utf-8", "surrogatepass")
    return Codec.PICKLE, shapes.dumps(value)


def deflated(codec: Codec, payload: bytes) -> tuple[Codec, bytes]:
    """Return codec and payload, compressed if that saves enough."""
    if len(payload) < DEFLATE_FROM:
        return codec, payload
    smaller = zlib.compress(payload, level=1)
    if len(smaller) > 0.9 * len(payload):
        return codec, payload
    return Codec.DEFLATED, bytes([codec]) + smaller


def load_value(record: Record) -> Any:
    """Return the value of an authenticated record.

    Raises the error of unpickling, for example if a class has moved. Such a record is a miss.
    """
    if record.codec is Codec.PICKLE:
        return pickle.loads(record.payload)
    if record.codec is Codec.BYTES:
        return bytes(record.payload)
    if record.codec is Codec.TEXT:
        return str(record.payload, "utf-8", "surrogatepass")
    if record.codec is Codec.DEFLATED:
        return load_value(inflated(record))
    raise ValueError(f"a record of codec {record.codec!r} has no value of its own")


def loader_of(record: Record) -> Callable[[], Any]:
    """Return a function that returns the value of a record, as `load_value` does, in less time."""
    if record.codec is Codec.PICKLE:
        return functools.partial(pickle.loads, record.payload)
    if record.codec is Codec.BYTES:
        return functools.partial(bytes, record.payload)
    return functools.partial(load_value, record)


def inflated(record: Record) -> Record:
    """Return an authenticated record with its payload as it was before `deflated`."""
    if record.codec is not Codec.DEFLATED:
        return record
    inner, payload = Codec(record.payload[0]), zlib.decompress(record.payload[1:])
    return record._replace(codec=inner, payload=payload)


def with_content(description: bytes, content: bytes | memoryview) -> bytes:
    """Return a payload of codec CONTENT."""
    return b"".join((_DESCRIBED.pack(len(description)), description, content))


def parted(payload: bytes | memoryview) -> tuple[memoryview, memoryview]:
    """Return the two parts of a payload of codec CONTENT: the description, and the content."""
    (size,) = _DESCRIBED.unpack_from(payload)
    end = _DESCRIBED.size + size
    payload = memoryview(payload)
    return payload[_DESCRIBED.size : end], payload[end:]


class Signer:
    """Seals the records of one kind of store, and opens those sealed with any of its secrets.

    The first secret seals. The others are former secrets, which are still accepted: a secret can be
    rotated without losing the stored records. A record of another ``kind`` is refused.
    """

    def __init__(self, secrets: Sequence[str], kind: str) -> None:
        name = kind.encode()
        self._keyed = [
            hashlib.blake2b(
                b"".join((MAGIC, bytes([len(name)]), name)),
                key=hashlib.blake2b(secret.encode(), person=_DOMAIN).digest(),
                digest_size=_CODE_SIZE,
            )
            for secret in secrets
        ]

    def seal(self, address: bytes, record: Record) -> bytes:
        """Return the record's bytes, bound to the entry at ``address``."""
        body = b"".join(
            (
                _HEADER.pack(
                    record.codec,
                    len(record.generations),
                    len(record.scopes),
                    record.stored_at,
                    record.expire,
                    record.load_seconds,
                    record.turn,
                ),
                *record.generations,
                record.scopes,
                record.payload,
            )
        )
        return b"".join((MAGIC, _code(self._keyed[0], address, _covered(body)), body))

    def open(self, address: bytes, sealed: bytes) -> Record:
        """Authenticate and take apart. Raises RecordRefusedError, before anything is unpickled."""
        if sealed[: len(MAGIC)] != MAGIC:
            # If a record is cut within its first bytes, its release is unknown.
            if sealed.startswith(_NAME) and len(sealed) > len(MAGIC):
                raise OtherFormatError("a record of another release")
            raise RecordRefusedError("not a record")
        if len(sealed) < _BODY + _HEADER.size:
            raise RecordRefusedError("cut short")
        body = memoryview(sealed)[_BODY:]
        code = sealed[len(MAGIC) : _BODY]
        covered = _covered(body)
        for keyed in self._keyed:
            if hmac.compare_digest(code, _code(keyed, address, covered)):
                break
        else:
            raise RecordRefusedError("not sealed for this entry with a key of this application")
        codec, count, size, stored_at, expire, load_seconds, turn = _HEADER.unpack_from(body)
        start = _BODY + _HEADER.size
        end = start + count * GENERATION_SIZE
        if codec >= len(_CODECS) or end + size > len(sealed):
            raise RecordRefusedError("of a form that this release does not know")
        generations = tuple(
            [sealed[at : at + GENERATION_SIZE] for at in range(start, end, GENERATION_SIZE)]
        )
        payload, scopes = body[end + size - _BODY :], sealed[end : end + size]
        codec = _CODECS[codec]
        return Record(generations, stored_at, expire, load_seconds, codec, payload, scopes, turn)


def _covered(body: bytes | memoryview) -> bytes | memoryview:
    """Return the part of a record's body that its code covers. Raises RecordRefusedError."""
    if body[0] != Codec.CONTENT:
        return body
    _, count, scopes, *_ = _HEADER.unpack_from(body)
    start = _HEADER.size + count * GENERATION_SIZE + scopes
    try:
        (size,) = _DESCRIBED.unpack_from(body, start)
    except struct.error:
        raise RecordRefusedError("cut short") from None
    return body[: start + _DESCRIBED.size + size]


def _code(keyed: hashlib.blake2b, address: bytes, body: bytes | memoryview) -> bytes:
    if len(address) != ADDRESS_SIZE:
        raise RecordRefusedError(f"an address has {ADDRESS_SIZE} bytes, not {len(address)}")
    code = keyed.copy()
    code.update(address)
    code.update(body)
    return code.digest()
