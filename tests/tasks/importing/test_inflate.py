"""Archives on a machine for which there is no python-isal."""

from __future__ import annotations

import runpy
import sys
import zlib

import pytest

from tasks.sources.archives import inflate


def test_zlib_inflates_where_there_is_no_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    found = runpy.run_path(inflate.__file__)
    packed = zlib.compress(b"content" * 1000, wbits=found["GZIP"])
    assert found["decompressobj"](found["GZIP"]).decompress(packed) == b"content" * 1000
    with pytest.raises(found["InflateError"]):
        found["decompressobj"](found["RAW"]).decompress(packed)
