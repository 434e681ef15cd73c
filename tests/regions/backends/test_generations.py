"""The table of generations: an invalidation is one moment, whatever it covers."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regions import health
from tests.regions.children import fork, statuses
from tests.regions.conftest import Calls, Manager, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TAGS = [f"tag {number}" for number in range(6)]


class Nested:
    """Functions that are each made of the one before, and of each a tag of its own."""

    def __init__(self, file_manager: Manager) -> None:
        self.cache = file_manager()
        self.truth = self.loads = 0
        self._functions = [self._function(None, TAGS[0])]
        for tag in TAGS[1:]:
            self._functions.append(self._function(self._functions[-1], tag))

    def _function(self, inner: Callable[[], int] | None, tag: str) -> Callable[[], int]:
        def load() -> int:
            self.loads += 1
            return inner() if inner else self.truth

        return self.cache.region("functions", tag, key=lambda: tag, tags=[tag])(load)

    def read(self) -> set[int]:
        # The outer ones first: these ask for the inner ones.
        return {function() for function in reversed(self._functions)}

    def change(self) -> None:
        self.truth += 1
        self.cache.invalidate_tags(*TAGS)


def in_another_thread(read: Callable[[], Any]) -> None:
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()


def at_each_change(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do something before each place of the table that this thread changes."""
    pwrite, mine = os.pwrite, threading.get_ident()

    def disturbed(descriptor: int, *args: Any) -> int:
        # Not what the locks of loads write, during which this process holds a lock.
        if threading.get_ident() == mine and is_table(descriptor):
            do()
        return pwrite(descriptor, *args)

    def is_table(descriptor: int) -> bool:
        return os.readlink(f"/proc/self/fd/{descriptor}").endswith("/generations")

    monkeypatch.setattr(os, "pwrite", disturbed)


def test_a_load_in_the_midst_of_an_invalidation_is_not_stored(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = Nested(file_manager)
    assert nested.read() == {0}
    moments = Calls()

    def use() -> None:
        nested.cache.invalidate_tags("another")  # what was read before counts no more
        nested.read()

    def disturb() -> None:
        moments()
        in_another_thread(use)

    at_each_change(monkeypatch, disturb)
    for _ in range(5):
        nested.change()
        assert nested.read() == {nested.truth}
    assert moments.count == 5 * (len(TAGS) + 1)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_who_is_stopped_while_it_invalidates_stops_nobody(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    nested = Nested(file_manager)
    assert nested.read() == {0}

    def stopped() -> None:
        moments = iter(range(len(TAGS)))

        def stop_at_the_third() -> None:
            if next(moments, None) == 2:
                os.kill(os.getpid(), signal.SIGSTOP)

        at_each_change(monkeypatch, stop_at_the_third)
        nested.cache.invalidate_tags(*TAGS)

    child = fork(stopped)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    nested.change()  # as another process, which the first one does not hold up
    assert nested.read() == {1}
    loads = nested.loads
    assert nested.read() == {1}
    assert nested.loads > loads, "nothing is stored that may be made of what is to change"
    os.kill(child, end)
    os.waitpid(child, 0)
    assert nested.read() == {1}
    loads = nested.loads
    assert nested.read() == {1}
    assert nested.loads == loads, "all of it is stored again"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "regions" / "functions" / "generations"


def test_a_table_that_is_put_back_under_its_former_number_brings_nothing_back(
    file_manager: Manager, table: Path, tmp_path: Path
) -> None:
    """ext4 gives a new file the number of one that was just removed, where nobody has it open."""

    def store() -> None:
        assert file_manager().region("functions")(values)(1) == 1

    def invalidate() -> None:
        file_manager().region("functions")(values).invalidate(1)

    assert statuses([fork(store)]) == [0]
    backup = tmp_path / "backup"
    shutil.copy(table, backup)
    number = table.stat().st_ino
    assert statuses([fork(invalidate)]) == [0]
    table.unlink()
    for attempt in range(2000):
        made = table.with_name(f"made {attempt}")
        made.touch()
        if made.stat().st_ino == number:
            break
    else:
        pytest.skip("this file system gives each file a number of its own")
    shutil.copyfile(backup, made)
    made.rename(table)

    def read() -> None:
        assert file_manager().region("functions")(values).peek(1) is None

    assert statuses([fork(read)]) == [0]


NOBODY = 65534


@pytest.fixture
def of_nobody() -> Iterator[Path]:
    """A folder of a user that has no other rights; where the tests are not root's, of this one."""
    folder = Path(tempfile.mkdtemp())
    if not os.geteuid():
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def become_nobody() -> None:
    if not os.geteuid():
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def test_who_cannot_write_to_the_table_uses_nothing_that_is_stored(of_nobody: Path) -> None:
    """Others would not hear of his invalidations; so the operator hears of it at once."""

    def use() -> None:
        become_nobody()
        cache = make_manager(type="file", data_dir=of_nobody, secret="of the tests")
        function = cache.region("functions")(values)
        assert function.peek(1) is None
        assert function(1) == 1
        assert cache["functions"].stats.snapshot()["failed.read"]
        found = [each for each in health.check_here(cache["functions"]) if each.level == "error"]
        assert [str(of_nobody / "functions") in each.subject for each in found] == [True]
        assert "generations" in found[0].message

    def run_a_command() -> None:
        cache = make_manager(type="file", data_dir=of_nobody, secret="of the tests")
        assert cache.region("functions")(values)(1) == 1

    assert statuses([fork(run_a_command)]) == [0]
    os.chmod(of_nobody / "functions" / "generations", 0o444)
    assert statuses([fork(use)]) == [0]


def values(number: int) -> int:
    return number
