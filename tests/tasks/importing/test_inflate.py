"""What has been packed by gzip, with python-isal and without."""

from __future__ import annotations

import io
import runpy
import sys
import zlib

import pytest

from tasks.sources.archives import inflate
from tasks.sources.archives.streams import GzipUnpacked


def test_zlib_inflates_where_there_is_no_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    found = runpy.run_path(inflate.__file__)
    packed = zlib.compress(b"content" * 1000, wbits=found["GZIP"])
    assert found["decompressobj"](found["GZIP"]).decompress(packed) == b"content" * 1000
    with pytest.raises(found["InflateErrors"]):
        found["decompressobj"](found["RAW"]).decompress(packed)


class _Bytewise(io.BytesIO):
    def read(self, _: int | None = -1, /) -> bytes:
        return super().read(1)


@pytest.mark.parametrize("flags", range(32))
def test_a_header_may_have_all_fields_and_arrive_in_parts(flags: int) -> None:
    """They are those of RFC 1952."""
    _, checksum, extra, name, comment = (flags & 1 << bit for bit in range(5))
    header = b"\x1f\x8b\x08%c\0\0\0\0\0\xff" % flags
    header += b"\x05\0extra" if extra else b""
    header += b"a name\0" if name else b""
    header += b"a comment\0" if comment else b""
    if checksum:
        header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    content = b"content" * 1000
    packing = zlib.compressobj(wbits=inflate.RAW)
    packed = header + packing.compress(content) + packing.flush()
    packed += zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    unpacked = GzipUnpacked(_Bytewise(2 * packed))
    assert b"".join(iter(lambda: unpacked.read(100), b"")) == 2 * content
