import errno
import os
from pathlib import Path

import pytest

from lazarus_core import atomic
from lazarus_core.atomic import move, remove_folder, replace_link, whole_file, whole_folder, whole_path


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
    path = tmp_path / "none" / "file"
    with pytest.raises(FileNotFoundError) as caught, whole_file(path):
        pass
    assert caught.value.filename == str(path)


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
