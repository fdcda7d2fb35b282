import io
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core import bounded
from lazarus_core.bounded import open_file, read_blocks, read_bytes, read_lines
from lazarus_core.errors import InputError


def code_of(call, *arguments: object, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **settings)
    assert "\n" not in caught.value.message
    return caught.value.code


def test_devices_pipes_sockets_and_folders_are_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (Path("/dev/zero"), tmp_path / "link", tmp_path / "pipe"):
            assert code_of(read_bytes, path) == "LP-E011"
        with pytest.raises(OSError, match="No such device"):
            open_file(tmp_path / "socket")
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)


def test_a_pipe_of_the_shell_is_read_within_the_bound():
    read, write = os.pipe()
    os.write(write, b"abc")
    os.close(write)
    assert read_bytes(f"/dev/fd/{read}") == b"abc"
    os.close(read)


def test_a_file_of_just_the_bound_is_read_and_a_byte_more_refused(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    assert code_of(read_bytes, tmp_path / "file", 4) == "LP-E012"


def test_a_file_that_grows_or_states_no_size_is_still_bounded():
    assert code_of(read_bytes, "/proc/self/maps", 10) == "LP-E012"  # its size is stated as 0


@given(st.binary(max_size=40).map(lambda text: text.replace(b"\x00", b"\n")), st.integers(1, 8))
def test_lines_are_all_there_or_the_first_too_long_is_named(content: bytes, bound: int):
    lines = content.splitlines(keepends=True) if b"\r" not in content else content.replace(b"\r", b"").splitlines(True)
    content = b"".join(lines)
    lines = [line + b"\n" for line in content.split(b"\n")[:-1]] + [content.split(b"\n")[-1]] * bool(
        content.split(b"\n")[-1]
    )
    long = [number for number, line in enumerate(lines, 1) if len(line.rstrip(b"\n")) > bound]
    found: list[bytes] = []
    try:
        found.extend(read_lines(io.BytesIO(content), "rows", max_bytes=bound))
        assert not long and found == lines
    except InputError as error:
        assert error.message.startswith(f"rows:{long[0]}: ") and f"{bound:,} bytes" in error.message


@given(st.binary(max_size=60).map(lambda text: text.replace(b"\x00", b"\n")), st.integers(1, 9))
def test_blocks_are_whole_lines_and_together_the_stream(content: bytes, size: int):
    blocks = list(read_blocks(io.BytesIO(content), "rows", size))
    assert b"".join(blocks) == content
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_a_block_reader_stops_at_a_line_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounded, "MAX_LINE_BYTES", 100)
    assert code_of(list, read_blocks(io.BytesIO(b"a\n" + b"x" * 200), "rows", 10)) == "LP-E012"
    assert len(list(read_blocks(io.BytesIO(b"xxxxxxxxx\n" * 50), "rows", 10))) == 50
