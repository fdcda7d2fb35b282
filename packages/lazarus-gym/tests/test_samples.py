"""Tasks on disk."""

import hashlib
from pathlib import Path

import pytest

from lazarus_gym import SamplesError, generate_tasks, read_replies, read_tasks, write_samples

# Changing this breaks stored data sets and everything planned from them: the key in `maths._numbers` names the version.
GOLDEN = "13e70eba45b1714fa985e3d6a5339827507037a2f2f016154b9bf6410db0d535"


def test_four_hundred_tasks_of_seed_zero_have_the_bytes_they_always_had(tmp_path: Path):
    write_samples(generate_tasks(400), tmp_path / "maths.jsonl")
    assert hashlib.sha256((tmp_path / "maths.jsonl").read_bytes()).hexdigest() == GOLDEN


def test_what_is_written_is_read_back(tmp_path: Path):
    tasks = generate_tasks(50, seed=3, digits=5)
    write_samples(tasks, tmp_path / "maths.jsonl")
    assert read_tasks(tmp_path / "maths.jsonl") == tasks


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "maths.jsonl"
    path.write_text("old")

    def tasks():
        yield from generate_tasks(3)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_samples(tasks(), path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("maths.jsonl", "old")]


TASK = '{"id":"a","kind":"addition","messages":[{"content":"1 + 1?"},{"content":"2"}],"answer":2}\n'


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (None, "LG-E110", "does not exist"),
        ("", "LG-E111", "is empty"),
        (TASK + "{\n", "LG-E112", ":2:"),
        (TASK + "[]\n", "LG-E112", ":2: not a JSON object"),
        (TASK.encode() + b'{"id": "\xff"}\n', "LG-E112", ":2: byte 9 of the line is not UTF-8"),
        (TASK + TASK.replace("addition", "division"), "LG-E113", ":2: not a task"),
        (TASK + '{"id":"b"}\n', "LG-E113", ":2: not a task"),
        (TASK + TASK, "LG-E114", ":2: id 'a'"),
    ],
)
def test_bad_tasks_are_named_by_file_and_line(tmp_path: Path, text: str | bytes | None, code: str, says: str):
    path = tmp_path / "tasks.jsonl"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SamplesError) as caught:
        read_tasks(path)
    assert caught.value.code == code
    assert str(path) in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("text", "code"),
    [('{"id":"a"}\n', "LG-E115"), ('{"id":"a","reply":2}\n', "LG-E115"), ('{"id":"a","reply":"2"}\n' * 2, "LG-E114")],
)
def test_bad_replies_are_refused(tmp_path: Path, text: str, code: str):
    (tmp_path / "replies.jsonl").write_text(text)
    with pytest.raises(SamplesError) as caught:
        read_replies(tmp_path / "replies.jsonl")
    assert caught.value.code == code
