"""Files that several processes store."""

from __future__ import annotations

import io
import os
import random
import signal
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from django.core.management import CommandError

from tasks.importing import importer, workers
from tasks.importing.importer import Importer, ImportOptions
from tasks.importing.jobs import map_as_completed
from tasks.importing.locating import source_at
from tasks.importing.reading import FileReader, FileToRead, Result
from tasks.importing.room import RegionFullError
from tasks.importing.sources import SourceFileInfo
from tasks.models import ImportedFile
from tasks.sources.progress import Progress
from tests.beaker_regions.children import fork
from tests.tasks.importing.test_command import wait_for
from tests.tasks.importing.test_import import contents, import_data

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes for a few files, too, and give them short lists."""
    monkeypatch.setattr(importer, "_MANY", 1)
    monkeypatch.setattr(workers, "FILES", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(20):
        path = folder / f"{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"file %d" % number)
    return folder


def test_all_files_are_imported_and_found_again(source: Path) -> None:
    size = sum(path.stat().st_size for path in source.rglob("*.txt"))
    out = import_data(source, "--jobs=3")
    assert out.startswith(f"20 imported, 0 unchanged, 0 failed; {size} bytes read")
    assert contents() == {f"{number % 3}/{number}.txt": b"file %d" % number for number in range(20)}
    assert import_data(source, "--jobs=3").startswith("0 imported, 20 unchanged, 0 failed; 0 bytes")
    (source / "1" / "7.txt").write_bytes(b"another")
    assert import_data(source, "--jobs=3").startswith("1 imported, 19 unchanged, 0 failed; 7 bytes")
    assert import_data(source, "--jobs=3", "--force").startswith("20 imported, 0 unchanged")


def test_a_zip_is_read_by_several_processes_and_a_tar_by_one(tmp_path: Path) -> None:
    files = {f"{number}.bin": random.randbytes(5000 + number) for number in range(40)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    assert import_data(tmp_path / "a.zip", "--jobs=3").startswith("40 imported, 0 unchanged, 0 fai")
    assert contents() == files
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"t{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content[::-1]))
    assert import_data(tmp_path / "a.tar.gz").startswith("40 imported, 0 unchanged, 0 failed")
    assert contents() == files | {f"t{name}": content[::-1] for name, content in files.items()}


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_imported(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FileReader.__call__

    def fail(self: FileReader, file: FileToRead) -> Result:
        return OSError(5, "a bad block") if file.found.path == "1/7.txt" else read(self, file)

    monkeypatch.setattr(FileReader, "__call__", fail)
    with pytest.raises(CommandError, match=r"1/7\.txt: a bad block"):
        import_data(source, "--jobs=2")
    assert ImportedFile.objects.count() == 19


def test_an_error_in_a_process_ends_the_run(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: FileReader, file: FileToRead) -> Result:
        raise RegionFullError("no room")

    monkeypatch.setattr(FileReader, "__call__", full)
    with pytest.raises(CommandError, match="The files region cannot store more: no room"):
        import_data(source, "--jobs=2")

    def wrong(self: FileReader, file: FileToRead) -> Result:
        raise LookupError("a mistake")

    monkeypatch.setattr(FileReader, "__call__", wrong)
    with pytest.raises(RuntimeError, match="LookupError: a mistake"):
        import_data(source, "--jobs=2")


def own_children() -> set[str]:
    """Return the numbers of this process's children, those that ended and were not waited for
    among them."""
    lists = Path("/proc/self/task").glob("*/children")
    return {number for path in lists for number in path.read_text().split()}


def test_a_process_that_is_killed_ends_the_run(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, children = os.getpid(), own_children()

    def die(self: FileReader, file: FileToRead) -> Result:
        assert os.getpid() != here
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(FileReader, "__call__", die)
    with pytest.raises(CommandError, match="a process of the import was killed"):
        import_data(source, "--jobs=2")
    assert own_children() == children


def test_the_processes_end_with_a_parent_that_is_killed(source: Path) -> None:
    """A pipe that all of them have is closed when the last of them has ended."""
    read_end, write_end = os.pipe()

    def slow(file: FileToRead) -> Result:
        time.sleep(random.uniform(0, 0.01))
        return OSError("slow")

    def parent() -> None:
        os.close(read_end)
        walk = list(source_at(str(source)).walk())
        files = [
            FileToRead(found, Progress()) for found in walk if isinstance(found, SourceFileInfo)
        ]
        counted = (lambda: 0), (lambda _: None)
        results = workers.map_in_processes(2, slow, files * 50, lambda *_: None, counted)
        for number, _ in enumerate(results):
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)

    child = fork(parent)
    os.close(write_end)
    os.waitpid(child, 0)
    with open(read_end, "rb") as pipe:
        assert pipe.read() == b""  # waits until it is closed


def in_processes(read: Callable[[FileToRead], Result], files: list[FileToRead]) -> Iterable[object]:
    counted = (lambda: 0), (lambda _: None)
    return workers.map_in_processes(2, read, files, lambda *_: None, counted)


def in_threads(read: Callable[[FileToRead], Result], files: list[FileToRead]) -> Iterable[object]:
    return map_as_completed(2, read, files)


def test_long_names_and_many_answers_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "FILES", 64)
    monkeypatch.setattr(workers, "_ANSWER_SECONDS", 0.0)

    def read(file: FileToRead) -> Result:
        if file.found.path.startswith("0"):
            for _ in range(2000):
                file.progress.advance(1)
        return OSError("read")

    def end(*_: object) -> None:
        raise TimeoutError

    long = "x" * 4000
    files = [SourceFileInfo(f"{number}/{long}", f"/{long}", 0, "") for number in range(200)]
    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    try:
        todo = [FileToRead(found, Progress(0)) for found in files]
        assert len(list(in_processes(read, todo))) == 200
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("results_of", [in_processes, in_threads])
def test_a_signal_that_interrupts_no_wait_ends_the_run(
    source: Path,
    tmp_path: Path,
    results_of: Callable[[Callable[[FileToRead], Result], list[FileToRead]], Iterable[object]],
) -> None:
    """Another thread takes the signal, so the main thread's wait for a result goes on."""
    begun, end = tmp_path / "begun", tmp_path / "end"

    def hang(file: FileToRead) -> Result:
        begun.touch()
        wait_for(end.exists)
        return OSError("hung")

    def interrupt() -> None:
        wait_for(begun.exists)
        time.sleep(0.1)  # so that the main thread waits
        signal.raise_signal(signal.SIGINT)
        over.wait(30)
        end.touch()

    over = threading.Event()
    (found, *_) = (
        file for file in source_at(str(source)).walk() if isinstance(file, SourceFileInfo)
    )
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(results_of(hang, [FileToRead(found, Progress())] * 2))
    has_waited = end.exists()
    over.set()
    thread.join()
    assert not has_waited


def test_an_importer_without_jobs_uses_all_processors(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        def __getattr__(self, name: str) -> object:
            return lambda *_: None

    asked = []
    real = workers.map_in_processes

    def noted(jobs: int, *rest: object) -> object:
        asked.append(jobs)
        return real(jobs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(importer, "map_in_processes", noted)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    summary = Importer(source_at(str(source)), Silent(), ImportOptions()).run()  # type: ignore[arg-type]
    assert (summary.imported, asked) == (20, [3])
