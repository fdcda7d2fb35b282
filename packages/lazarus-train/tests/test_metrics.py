import json
import math

import pytest

from lazarus_train.run_dir.metrics import append_line, finite_or_none, held_out_losses, keep_lines, read_lines


@pytest.mark.parametrize("broken", [b'{"step":3,"lo', b"{}", b"[3]", b"null", b"3", b'{"step":"x"}', b"\xff"])
def test_lines_beyond_a_step_are_dropped_and_a_broken_line_too(tmp_path, broken):
    path = tmp_path / "metrics.jsonl"
    for step in range(1, 6):
        append_line(path, {"step": step, "loss": 1 / step})
    with path.open("ab") as log:
        log.write(broken)
    keep_lines(path, lambda line: line["step"] <= 3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3]


def test_a_log_that_is_not_there_is_no_error(tmp_path):
    keep_lines(tmp_path / "none.jsonl", lambda line: True)
    assert not (tmp_path / "none.jsonl").exists()
    assert read_lines(tmp_path / "none.jsonl") == []


def test_what_is_written_is_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(ValueError, match="JSON"):
        append_line(path, {"step": 1, "loss": math.inf})
    append_line(path, {"step": 1, "loss": finite_or_none(math.inf), "rate": finite_or_none(0.5)})
    assert json.loads(path.read_text()) == {"step": 1, "loss": None, "rate": 0.5}


def test_held_out_losses_are_those_of_the_rows_asked_for():
    lines = [
        {"step": 0, "eval_set": "own", "eval_loss": 3.0},
        {"step": 0, "eval_set": "other", "eval_loss": 9.0},
        {"step": 1, "loss": 2.0},
        {"step": 1, "eval_set": "own", "eval_loss": None},
    ]
    assert held_out_losses(lines, "own") == {0: 3.0}
    assert held_out_losses(lines, "other") == {0: 9.0}
    assert held_out_losses(lines, None) == {}
