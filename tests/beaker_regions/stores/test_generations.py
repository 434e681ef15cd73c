"""The table of generations: an invalidation is one moment, whatever it covers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from beaker_regions.reports import health
from beaker_regions.stores.files import generations
from beaker_regions.stores.files.generations import GenerationTable
from beaker_regions.stores.files.store import FileStore
from tests.beaker_regions.children import fork, statuses
from tests.beaker_regions.conftest import Calls, Manager, make_manager
from tests.waiting import PATIENCE

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
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch, table: Path
) -> None:
    nested = Nested(file_manager)
    assert nested.read() == {0}
    store = nested.cache["functions"].store
    assert isinstance(store, FileStore)
    moments = Calls()

    def use() -> None:
        store._generations = GenerationTable(table)  # as a process that has read nothing before
        nested.read()

    def disturb() -> None:
        moments()
        in_another_thread(use)

    at_each_change(monkeypatch, disturb)
    for _ in range(3):
        nested.change()
        assert nested.read() == {nested.truth}
    assert moments.count == 3 * (len(TAGS) + 1)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_process_stopped_while_it_invalidates_stops_no_other(
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


@pytest.mark.parametrize("options", [[], ["-p"], ["-a"]])
@pytest.mark.parametrize("whole", [False, True], ids=["table", "folder"])
def test_a_table_that_is_copied_over_the_present_one_brings_nothing_back(
    file_manager: Manager, table: Path, tmp_path: Path, options: list[str], whole: bool
) -> None:
    """It has the number of the present one, and was made when that was."""
    function = file_manager().region("functions")(values)
    other = file_manager().region("functions")(others)
    assert (function(1), other(1)) == (1, 1)
    backup = tmp_path / "backup"
    subprocess.run(["cp", "-a", table.parent, backup], check=True)
    before = table.stat()
    function.invalidate(1)
    source, target = (f"{backup}/.", table.parent) if whole else (backup / table.name, table)
    subprocess.run(["cp", "-r", *options, source, target], check=True)
    assert table.stat().st_ino == before.st_ino, "it is the same file"
    assert function.peek(1) is None
    other.invalidate(2)  # who changes the table that was put back lets nobody take it for theirs
    assert statuses([fork(lambda: check(function.peek(1) is None))]) == [0]
    assert function(1) == function(1) == 1
    assert function.peek(1) == 1, "and it is stored again"


def test_a_change_to_a_table_that_was_copied_over_does_not_make_it_valid(
    file_manager: Manager, table: Path, tmp_path: Path
) -> None:
    function = file_manager().region("functions")(values)
    other = file_manager().region("functions")(others)
    assert (function(1), other(1)) == (1, 1)
    subprocess.run(["cp", table, tmp_path / "backup"], check=True)
    function.invalidate(1)
    subprocess.run(["cp", tmp_path / "backup", table], check=True)
    other.invalidate(1)
    assert function.peek(1) is None


def test_processes_that_invalidate_at_once_keep_the_table(
    file_manager: Manager, table: Path
) -> None:
    cache = file_manager()
    function, other = cache.region("functions")(values), cache.region("functions")(others)
    assert (function(1), other(0)) == (1, 0)
    number = table.stat().st_ino

    def invalidate() -> None:
        for _ in range(100):
            other.invalidate(0)
            assert function.peek(1) == 1

    children = [fork(invalidate) for _ in range(4)]
    assert statuses(children) == [0] * len(children)
    assert function.peek(1) == 1
    assert other.peek(0) is None
    assert table.stat().st_ino == number


def test_a_process_killed_before_the_mark_costs_loads_and_serves_nothing_old(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = Nested(file_manager)
    assert nested.read() == {0}

    def killed() -> None:
        moments = iter(range(len(TAGS)))

        def kill_at_the_last() -> None:
            if next(moments, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        at_each_change(monkeypatch, kill_at_the_last)
        nested.cache.invalidate_tags(*TAGS)

    nested.truth += 1
    assert statuses([fork(killed)]) == [-signal.SIGKILL]
    assert nested.read() == {1}
    loads = nested.loads
    assert nested.read() == {1}
    assert nested.loads == loads, "all of it is stored again"


def test_a_child_forked_during_an_invalidation_blocks_no_process(
    file_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent is killed in the middle, and the child has all that was open then."""
    monkeypatch.setattr(generations, "_PATIENCE", PATIENCE)
    nested = Nested(file_manager)
    assert nested.read() == {0}
    child_pipe, tell = os.pipe()

    def fork_and_be_killed() -> None:
        def fork_a_child() -> None:
            os.write(tell, b"%d\n" % fork(signal.pause))
            os.kill(os.getpid(), signal.SIGKILL)

        at_each_change(monkeypatch, lambda: in_another_thread(fork_a_child))
        nested.cache.invalidate_tags(*TAGS)

    assert statuses([fork(fork_and_be_killed)]) == [-signal.SIGKILL]
    child = int(os.read(child_pipe, 20))
    try:
        began = time.monotonic()
        nested.change()
        assert time.monotonic() - began < PATIENCE / 2, "nobody is waited for"
        assert nested.read() == {1}
        loads = nested.loads
        assert nested.read() == {1}
        assert nested.loads == loads, "what is loaded is stored"
    finally:
        os.kill(child, signal.SIGKILL)


NOBODY = 65534


@pytest.fixture
def of_nobody() -> Iterator[Path]:
    """A folder of a user that has no other rights; where the tests are not root's, of this one."""
    folder = Path(tempfile.mkdtemp())
    if not os.geteuid():
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o2770)  # or this user's processes would refuse it
    yield folder
    shutil.rmtree(folder)


def become_nobody() -> None:
    if not os.geteuid():
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def test_a_process_that_cannot_write_to_the_table_uses_no_stored_value(of_nobody: Path) -> None:
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
        assert "this user cannot write to" in found[0].message

    def run_a_command() -> None:
        cache = make_manager(type="file", data_dir=of_nobody, secret="of the tests")
        assert cache.region("functions")(values)(1) == 1

    assert statuses([fork(run_a_command)]) == [0]
    os.chmod(of_nobody / "functions" / "generations", 0o444)
    assert statuses([fork(use)]) == [0]


def values(number: int) -> int:
    return number


def others(number: int) -> int:
    return number


def check(held: bool) -> None:
    assert held
