import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lazarus_core import atomic
from lazarus_core.atomic import move, naming, remove_folder, replace_link, whole_file, whole_folder, whole_path
from lazarus_core.leftovers import clear_leftovers


def test_a_file_is_replaced_at_the_end(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with whole_file(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path, stop: type[BaseException]):
    with pytest.raises(stop), whole_file(tmp_path / "file") as stream:
        stream.write(b"half")
        raise stop
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path: Path):
    link, null = tmp_path / "link", tmp_path / "null"
    link.symlink_to(tmp_path / "file")
    null.symlink_to(os.devnull)
    for path in (link, null):
        with whole_file(path) as stream:
            stream.write(b"new")
    assert link.is_symlink() and (tmp_path / "file").read_bytes() == b"new"
    assert Path(os.devnull).is_char_device()


def test_what_the_system_refuses_names_the_file(tmp_path: Path):
    (tmp_path / "none").touch()
    path = tmp_path / "none" / "file"
    with pytest.raises(NotADirectoryError) as caught, whole_file(path):
        pass
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("writer", ["whole_file", "whole_folder", "whole_path"])
@pytest.mark.parametrize("there", [[], ["a"], ["a", "a/b"]])
@pytest.mark.parametrize("is_finished", [False, True])
def test_missing_parents_are_made_and_those_of_a_failure_removed(
    tmp_path: Path, writer: str, there: list[str], is_finished: bool
):
    for name in there:
        (tmp_path / name).mkdir()
    path = tmp_path / "a/b/out"
    opened = atomic.whole_path(path, "name") if writer == "whole_path" else getattr(atomic, writer)(path)
    with pytest.raises(KeyboardInterrupt) if not is_finished else contextlib.nullcontext(), opened as made:
        if writer == "whole_path":
            made.touch()
        if not is_finished:
            raise KeyboardInterrupt
    names = {each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*")}
    assert names == ({"a", "a/b", "a/b/out"} if is_finished else {*there})


def test_a_durable_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, flushed = tmp_path / "out", list[tuple[str, bool]]()
    monkeypatch.setattr(atomic, "flush", lambda each: flushed.append((each.name, path.exists())))
    with whole_folder(path, is_durable=True) as folder:
        (folder / "inner").mkdir()
        (folder / "inner/file").write_bytes(b"new")
    assert sorted(flushed) == sorted([("inner", False), ("file", False), (folder.name, False), (tmp_path.name, True)])
    assert (path / "inner/file").read_bytes() == b"new"


def test_a_writer_with_a_path_replaces_a_file(tmp_path: Path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="disk is full"), whole_path(path, "out.bin"):
        raise OSError(errno.ENOSPC, "the disk is full")
    assert path.read_bytes() == b"old"
    with whole_path(path, "out.bin") as written:
        assert written.name == "out.bin"
        written.write_bytes(b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_a_folder_removed_or_moved(tmp_path: Path):
    link, first, second = tmp_path / "latest", tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "file").write_bytes(folder.name.encode())
        replace_link(link, folder.name)
        assert (link / "file").read_bytes() == folder.name.encode()
    remove_folder(first)
    with pytest.raises(FileExistsError):
        move(second, link)
    move(second, first)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["first", "latest"]


def test_a_link_in_a_durable_folder_needs_no_target(tmp_path: Path):
    with whole_folder(tmp_path / "out", is_durable=True) as folder:
        (folder / "link").symlink_to("nothing")
    assert (tmp_path / "out/link").is_symlink()


def test_the_name_of_a_file_that_was_read_stays(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught, whole_folder(tmp_path / "out"):
        (tmp_path / "source").read_bytes()
    assert caught.value.filename == str(tmp_path / "source")
    with pytest.raises(FileNotFoundError) as caught, whole_folder(tmp_path / "out") as folder:
        (folder / "deep" / "file").touch()
    assert caught.value.filename == str(tmp_path / "out")
    with pytest.raises(OSError) as full, naming(tmp_path, keep=True):
        raise OSError(28, "No space left on device")
    assert full.value.filename == str(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from lazarus_core.atomic import remove_folder, whole_folder
left = int(sys.argv[2])
def hook(event, arguments):
    global left
    if any(isinstance(each, str | bytes | os.PathLike) and sys.argv[1] in os.fsdecode(each) for each in arguments):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1]) / "out"
sys.addaudithook(hook)
if sys.argv[3] == "replace":
    with whole_folder(folder, is_durable=True) as written:
        for name in "ab":
            (written / name).write_text("new")
else:
    remove_folder(folder)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["replace", "remove"])
def test_killed_at_every_file_operation_a_folder_is_old_or_new_or_gone(tmp_path: Path, what: str):
    """What the next writer finds after it cleared the leftovers; a folder that was to be replaced is never lost."""
    seen: set[str] = set()
    for moment in range(1, 200):
        folder = tmp_path / str(moment) / "out"
        folder.mkdir(parents=True)
        for name in "ab":
            (folder / name).write_text("old")
        command = [sys.executable, "-c", KILLED, str(folder.parent), str(moment), what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        clear_leftovers(folder)
        state = (
            " ".join(sorted(f"{each.name}={each.read_text()}" for each in folder.iterdir())) if folder.exists() else ""
        )
        assert state in ("a=old b=old", "a=new b=new" if what == "replace" else "")
        assert [each.name for each in folder.parent.iterdir()] == ([folder.name] if state else [])
        seen.add(state)
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stderr
            break
    assert len(seen) == 2
