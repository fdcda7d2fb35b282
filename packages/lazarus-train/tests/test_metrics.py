import json

from lazarus_train.metrics import append_line, keep_steps


def test_lines_beyond_a_step_are_dropped_and_a_broken_last_line_too(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in range(1, 6):
        append_line(path, {"step": step, "loss": 1 / step})
    with path.open("a") as log:
        log.write('{"step":3,"lo')
    keep_steps(path, 3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_log_that_is_not_there_is_no_error(tmp_path):
    keep_steps(tmp_path / "none.jsonl", 3)
    assert not (tmp_path / "none.jsonl").exists()
