"""Lists of URLs."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from tests.tasks.importing.test_command import run
from tests.tasks.importing.test_http import origin
from tests.tasks.importing.test_import import contents
from tests.tasks.origin import Fault, Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["origin"]


def import_list(path: Path, *options: str) -> tuple[int, list[str], list[str]]:
    """Run the command for a list; return exit status and lines of output and errors."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    try:
        call_command("import_data", f"--input-file={path}", *options, stdout=out, stderr=err)
    except CommandError as error:
        status = error.returncode
        err.write(f"{error}\n")
    return status, out.getvalue().splitlines(), err.getvalue().splitlines()


def test_the_urls_of_a_list_are_imported_and_asked_for_changes(
    origin: Origin, tmp_path: Path
) -> None:
    names = [f"{number}.txt" for number in range(6)]
    origin.files = {name: name.encode() for name in names}
    origin.files["get"] = b"got"
    text = "\r\n".join(map(origin.url, names))
    (tmp_path / "list").write_text(
        f"\ufeff# files\n\n{text}\n  {origin.url('get')}?id=7 in/7 x.txt "
    )
    status, out, err = import_list(tmp_path / "list", "--into=top", "--jobs=3")
    assert (status, err, out[-1][:11]) == (0, [], "7 imported,")
    expected = {f"top/{name}": name.encode() for name in names} | {"top/in/7 x.txt": b"got"}
    assert contents() == expected
    origin.files["3.txt"] = b"changed"
    before = len(origin.requests)
    status, out, err = import_list(tmp_path / "list", "--into=top")
    assert out[-1].startswith("1 imported, 6 unchanged, 0 failed; 7 bytes read")
    assert [each.status for each in origin.requests[before:]].count(304) == 6
    (tmp_path / "list").write_text(origin.url("1.txt"))
    assert "6 forgotten" in import_list(tmp_path / "list", "--into=top", "--prune")[1][-1]
    assert contents() == {"top/1.txt": b"1.txt"}


def test_a_server_that_leaves_out_the_content_may_say_that_it_is_empty(
    origin: Origin, tmp_path: Path
) -> None:
    origin.files = {"a.txt": b"first", "empty": b""}
    origin.fail("a.txt", Fault(headers={"Content-Length": "0"}))
    (tmp_path / "list").write_text("\n".join(map(origin.url, origin.files)))
    status, _, err = import_list(tmp_path / "list")
    assert (status, err) == (0, [])
    assert contents() == origin.files
    assert "2 unchanged" in import_list(tmp_path / "list")[1][-1]


def test_lines_that_cannot_be_used_are_named_and_the_others_imported(
    origin: Origin, tmp_path: Path
) -> None:
    origin.files = {"a.txt": b"first", "in/a.txt": b"second", "b.txt": b"", "c.txt": b"third"}
    a, other, b, c = map(origin.url, origin.files)
    lines = [
        a,
        "ftps//x",
        a,
        other,
        f"{b}?token=hushed",
        c,
        f"{c} ../d",
        origin.url("in/"),
        "/etc/x",
    ]
    (tmp_path / "list").write_text("\n".join([*lines, origin.url("gone")]))
    status, _, err = import_list(tmp_path / "list", "--into=top")
    assert status == 3
    assert contents() == {"top/a.txt": b"first", "top/c.txt": b"third"}
    said = "\n".join(err)
    assert "hushed" not in said
    assert f"{tmp_path}/list: line 9 is no URL" in err
    for number in (2, 5, 7, 8, 9):
        assert f"{tmp_path}/list: line {number} " in said
    assert "top/a.txt: line 3 repeats line 1" in err
    assert "top/a.txt: line 4 has the name of line 1; write another behind it" in err
    assert "top/gone: 404 Not Found" in err
    assert err[-1] == "7 of 10 files were not imported"
    (tmp_path / "list").write_text(f"{a}\nbad\n")
    assert " 0 forgotten" in import_list(tmp_path / "list", "--prune")[1][-1]


def test_lists_from_the_standard_input_replace_nothing_of_each_other(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    origin.files = {"a.txt": b"first", "in/a.txt": b"second"}

    def given(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    given(origin.url("a.txt"))
    assert import_list("-")[0] == 0  # type: ignore[arg-type]
    given(origin.url("in/a.txt"))
    status, _, err = import_list("-", "--prune")  # type: ignore[arg-type]
    assert status == 3
    assert "has the name of a file from 'standard input, " in err[0]
    given(f"{origin.url('a.txt')}\n# the same\n")
    assert " 1 unchanged" in import_list("-")[1][-1]  # type: ignore[arg-type]
    assert contents() == {"a.txt": b"first"}


def test_headers_go_with_a_list_of_one_server_only(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("Authorization: Bearer x")
    (tmp_path / "list").write_text(origin.url("a.txt"))
    assert import_list(tmp_path / "list", f"--headers={tmp_path}/headers")[0] == 0
    assert {each.headers.get("authorization") for each in origin.requests} == {"Bearer x"}
    (tmp_path / "list").write_text(f"{origin.url('a.txt')}\nhttp://127.0.0.1:9/b")
    status, _, err = import_list(tmp_path / "list", f"--headers={tmp_path}/headers")
    assert (status, len(err)) == (1, 1)
    assert "--headers is for one server" in err[0]


def test_a_list_or_a_source_is_given(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="give either SOURCE or --input-file FILE") as raised:
        call_command("import_data")
    assert raised.value.returncode == 2
    with pytest.raises(CommandError, match="give either SOURCE"):
        call_command("import_data", "a", "-i", "b")
    assert "list' cannot be read: No such file" in import_list(tmp_path / "list")[2][0]
    (tmp_path / "list").write_text("# nothing\n")
    assert "holds no files" in import_list(tmp_path / "list")[2][0]
    origin.fail("a.txt", Fault(status=404))
    assert run(origin.url("a.txt"))[0] == 1
