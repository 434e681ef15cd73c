"""Requests and answers in memcached's text protocol, as bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from beaker_regions.entries.known import Known
from beaker_regions.errors import NotTakenError, StoreUnavailableError

LONGEST_LINE = 2048
"""Bytes; a key has 250 at the most."""
NO_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value"
NOT_TAKEN = re.compile(rb"SERVER_ERROR (?:object too large|out of memory|Out of memory)")
_VALUE = re.compile(rb"VALUE ([^ ]+) (\d+) (\d+)(?: (\d+))?\r\n")
_END = b"END\r\n"


def get_request(keys: Iterable[str]) -> bytes:
    """Return the request for the items under ``keys``."""
    return b"get %b\r\n" % " ".join(keys).encode()


def gets_request(keys: Iterable[str]) -> bytes:
    """As `get_request`; the answer also has the items' numbers."""
    return b"gets %b\r\n" % " ".join(keys).encode()


def store_request(command: bytes, key: str, value: bytes, exptime: int, number: int = 0) -> bytes:
    """Return the request that stores a value: ``set``, ``add``, or ``cas`` with the ``number`` of
    the item that it replaces. ``exptime`` is memcached's form of a time to live."""
    only = b" %d" % number if command == b"cas" else b""
    line = b"%b %b 0 %d %d%b" % (command, key.encode(), exptime, len(value), only)
    return b"%b\r\n%b\r\n" % (line, value)


def delete_request(key: str) -> bytes:
    """Return the request that removes an item."""
    return b"delete %b\r\n" % key.encode()


def incr_request(key: str, amount: int) -> bytes:
    """Return the request that adds to a number."""
    return b"incr %b %d\r\n" % (key.encode(), amount)


def read_answer(answer: bytes) -> tuple[bytes | None, int]:
    """Read the answer to a request that changes an item. Returns its word, or a number, and where
    the rest begins; None if it is not complete. Raises ValueError for anything else."""
    end = answer.find(b"\r\n")
    if end >= 0:
        return answer[:end], end + 2
    if len(answer) > LONGEST_LINE:
        raise ValueError(f"the server answers {answer[:80]!r}")
    return None, 0


def answer_of(items: Mapping[str, bytes]) -> bytes:
    """Return the answer to a `get_request`, as memcached writes it, with these items by key."""
    written = [
        b"VALUE %b 0 %d\r\n%b\r\n" % (key.encode(), len(value), value)
        for key, value in items.items()
    ]
    return b"".join([*written, _END])


def expect(known: Known) -> None:
    """Put the request for a known answer together, and the answer."""
    known.expect(get_request(known.keys), answer_of(known.items()))


def expect_all(known: Sequence[Known]) -> tuple[bytes, bytes]:
    """Return the request for several known answers, and the answer that gives all of them again;
    empty if one of them cannot be kept."""
    for each in known:
        if not each.request:
            expect(each)
    if not all(each.request for each in known):
        return b"", b""
    keys = [each.request[len(b"get ") : -2] for each in known]
    items = [each.answer[: -len(_END)] for each in known]
    return b"get %b\r\n" % b" ".join(keys), b"".join([*items, _END])


def read_items(
    answer: bytes, at: int, found: dict[str, bytes], numbers: dict[str, bytes] | None = None
) -> tuple[int, int]:
    """Read the items of an answer that begins at ``at`` into ``found``, by key, and their numbers
    into ``numbers``. Returns where the rest begins, and how many more bytes are needed to go on
    from there, at least; 0 after the end of the answer. Raises StoreUnavailableError for anything
    else than items."""
    while not answer.startswith(_END, at):
        value = _VALUE.match(answer, at)
        if value is None:
            if answer.find(b"\r\n", at) >= 0 or len(answer) - at > LONGEST_LINE:
                raise unexpected(answer[at:].partition(b"\r\n")[0])
            return at, 1
        key, flags, size, number = value.groups()
        start = value.end()
        end = start + int(size)
        if len(answer) < end + 2:
            return at, end + 2 - len(answer)
        at = end + 2
        # Only bytes are ours; an item with flags is no record.
        found[key.decode()] = b"" if flags != b"0" else answer[start:end]
        if numbers is not None:
            numbers[key.decode()] = number
    return at + len(_END), 0


def unexpected(answer: bytes) -> StoreUnavailableError:
    """Return the error for an answer that has another meaning than those of the request."""
    message = f"it answers {answer[:80]!r}"
    if NOT_TAKEN.match(answer):
        return NotTakenError(message)
    return StoreUnavailableError("server", message)
