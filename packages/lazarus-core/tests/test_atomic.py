import os
from pathlib import Path

import pytest

from lazarus_core.atomic import whole_file


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
