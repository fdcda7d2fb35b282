"""What a killed process left is removed by the next writer; what a living one writes is not touched."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lazarus_core.atomic import filled_folder, whole_file, whole_folder
from lazarus_core.leftovers import clear_folder, clear_leftovers, locked


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


@pytest.mark.parametrize("ending", ["tmp", "old", "part"])
def test_leftovers_of_dead_processes_are_cleared(tmp_path: Path, dead: int, ending: str):
    (tmp_path / f".out.{dead}.{ending}").write_bytes(b"half")
    (tmp_path / "out").write_bytes(b"whole")
    with whole_file(tmp_path / "out") as stream:
        stream.write(b"new")
    assert names_in(tmp_path) == ["out"]


def test_leftovers_of_the_living_and_of_others_stay(tmp_path: Path, dead: int):
    names = [f".out.{os.getppid()}.tmp", f".other.{dead}.tmp", f".out.{dead}.txt", f"out.{dead}.tmp", ".out.x.tmp"]
    for name in names:
        (tmp_path / name).touch()
    clear_leftovers(tmp_path / "out")
    assert names_in(tmp_path) == sorted(names)


def test_what_was_written_into_a_temporary_folder_is_cleared_with_it(tmp_path: Path, dead: int):
    """A writer that writes a whole folder to a temporary folder of another writer: both were killed."""
    for name in (f".out.{dead}.tmp", f"..out.{dead}.tmp.{dead}.tmp", f"...out.{dead}.tmp.{dead}.tmp.{dead}.old"):
        (tmp_path / name).mkdir()
    stays = [f"..out.{dead}.tmp.{os.getppid()}.tmp", f"..other.{dead}.tmp.{dead}.tmp", f"..out.{dead}.tmp"]
    for name in stays:
        (tmp_path / name).mkdir()
    clear_leftovers(tmp_path / "out")
    assert names_in(tmp_path) == sorted(stays)


def test_a_leftover_that_another_machine_has_locked_stays(tmp_path: Path, dead: int):
    written = tmp_path / f".out.{dead}.tmp"
    written.mkdir()
    with locked(written):
        clear_leftovers(tmp_path / "out")
        assert written.exists()
    clear_leftovers(tmp_path / "out")
    assert not written.exists()


def test_a_folder_that_was_moved_aside_is_put_back(tmp_path: Path, dead: int):
    aside = tmp_path / f".out.{dead}.old"
    aside.mkdir()
    (aside / "file").write_bytes(b"whole")
    clear_leftovers(tmp_path / "out")
    assert (tmp_path / "out" / "file").read_bytes() == b"whole" and not aside.exists()


KILLED = """
import sys, time
from pathlib import Path
from lazarus_core.atomic import filled_folder, whole_file, whole_folder
write = {"file": whole_file, "folder": whole_folder, "filled": filled_folder}[sys.argv[1]]
with write(Path(sys.argv[2])) as opened:
    if sys.argv[1] == "file":
        opened.write(b"half"); opened.flush()
    else:
        (opened / "half").write_bytes(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder", "filled"])
@pytest.mark.parametrize("was_there", [False, True])
def test_a_kill_in_the_middle_leaves_what_was_and_no_trace_after_the_next(tmp_path: Path, kind: str, was_there: bool):
    path = tmp_path / "out"
    if was_there:
        path.write_bytes(b"old") if kind == "file" else path.mkdir()
        if kind != "file":
            (path / "old").write_bytes(b"old")
    with subprocess.Popen([sys.executable, "-c", KILLED, kind, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGKILL)
    assert path.exists() == was_there
    assert not was_there or (path if kind == "file" else path / "old").read_bytes() == b"old"
    if kind == "file":
        with whole_file(path) as stream:
            stream.write(b"new")
    else:
        with (whole_folder if kind == "folder" else filled_folder)(path) as folder:
            (folder / "new").write_bytes(b"new")
    kept = ["old"] if kind == "filled" and was_there else []
    assert names_in(tmp_path) == ["out"]
    assert kind == "file" or names_in(path) == ["new", *kept]


def test_what_is_being_written_is_not_cleared_by_another_process(tmp_path: Path):
    path = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", KILLED, "file", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        with whole_file(path) as stream:
            stream.write(b"new")
        assert (tmp_path / f".out.{process.pid}.tmp").exists()
        process.kill()
    assert path.read_bytes() == b"new"


def test_a_folder_is_filled_in_the_order_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "out").mkdir()
    moved: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (moved.append(self.name), replace(self, to))[1])
    with filled_folder(tmp_path / "out", last=("config.json",)) as folder:
        for name in ("config.json", "model", "a"):
            (folder / name).touch()
    assert moved == ["a", "model", "config.json"]


def test_a_folder_that_is_locked_is_cleared_whatever_process_has_the_number_now(tmp_path: Path, dead: int):
    for name in (f".a.b.{dead}.tmp", f".c.{dead}.old.tmp", f".d.{os.getppid()}.tmp", ".mine.tmp", "plain", "x.7.tmp"):
        (tmp_path / name).touch()
    for name in (f".e.{os.getppid()}.old", f".f.{dead}.old", "f"):  # a kill between two renames, and one after both
        (tmp_path / name).mkdir()
    clear_folder(tmp_path)
    assert names_in(tmp_path) == sorted([".mine.tmp", "plain", "x.7.tmp", "e", "f"])
    clear_folder(tmp_path / "none")
