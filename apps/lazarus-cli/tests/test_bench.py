import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commands
from lazarus_cli.bench_rows import synthetic_rows
from lazarus_tokenkit import CompletionSample, Encoder, load_tokenizer


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Forty rows of mixed length, benched once from the command line."""
    folder = tmp_path_factory.mktemp("bench")
    rows = [{"prompt": f"{n} times two", "completion": "x" * (4 + 40 * (n % 7 == 0))} for n in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    options = ["-d", "rows.jsonl", "-t", "byte", "-b", "256", "--steps", "2", "-o", "out", "--num-samples", "30"]
    return commands.run([sys.executable, "-m", "lazarus_cli", "bench", *options, *more], cwd=folder)


def report(folder: Path) -> dict:
    return json.loads((folder / "out/bench.json").read_text())


@pytest.mark.slow
def test_every_mode_is_planned_and_trained(measured):
    folder, done = measured
    found = report(folder)
    assert found["samples"] == 30
    assert sum(count for *_, count in found["lengths"]["histogram"]) == 30
    assert [mode["mode"] for mode in found["modes"]] == ["packed", "bucketed", "padded"]
    for mode in found["modes"]:
        assert 0 <= mode["padding_share"] < 1
        assert mode["train_tokens_per_s"] > 0
        assert mode["peak_memory_bytes"] > 1_000_000
    assert done.stdout == (folder / "out/bench.md").read_text()
    page = (folder / "out/bench.html").read_text()
    assert (page.count("<svg"), page.count('class="bars"')) == (1, 2)
    assert "<title>Benchmark of rows.jsonl with tokenizer byte and model nano</title>" in page
    assert "bench -d rows.jsonl -t byte" in page[page.index("<footer>") :]


@pytest.mark.slow
def test_edges_are_taken_as_asked_and_must_hold_the_longest(measured):
    folder, _ = measured
    done = run(folder, "--bucket-edges", "8,16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "add a longer edge" in done.stderr
    assert run(folder, "--bucket-edges", "48,128", "--num-samples", "20", "-o", "edges").returncode == 0
    bucketed = json.loads((folder / "edges/bench.json").read_text())["modes"][1]
    assert bucketed["bucket_edges"] == [48, 128]
    encoder = Encoder(load_tokenizer("byte"))
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()[:20]]
    lengths = [len(encoder.encode(CompletionSample("", row["prompt"], row["completion"])).ids) for row in rows]
    room = sum(48 if length <= 48 else 128 for length in lengths)
    assert 48 * 20 < room < 128 * 20
    assert bucketed["padding_share"] == pytest.approx(1 - sum(lengths) / room)


@pytest.mark.slow
def test_a_fall_below_the_baseline_is_exit_1_and_other_work_is_refused(measured):
    folder, _ = measured
    before = report(folder)
    for mode in before["modes"]:
        mode["train_tokens_per_s"] *= 1000
    (folder / "fast.json").write_text(json.dumps(before))
    done = run(folder, "--baseline", "fast.json")
    assert done.returncode == 1
    # on a busy machine other parts fall too
    assert re.search(r"slower than the baseline by more than 20%: .*\btraining, packed to 0\.0\dx", done.stderr)
    done = run(folder, "--baseline", "fast.json", "--num-samples", "10")
    assert done.returncode == 2
    assert re.search(r"measured other work: samples was 30, is \d+, tokens was \d+, is \d+;", done.stderr)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-d", "none.jsonl"], "none.jsonl"),
        (["--bucket-edges", "a,b"], "give whole numbers"),
        (["--bucket-edges", "64,32"], "give whole numbers, ascending"),
        (["--baseline", "rows.jsonl"], "rows.jsonl is not a bench.json"),
        (["-t", "unknown-tokenizer"], "unknown-tokenizer"),
        (["--tolerance", "-1"], "Invalid value for '--tolerance'"),
    ],
)
def test_bad_input_is_exit_2_and_writes_nothing(tmp_path, options, words):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    done = run(tmp_path, *options)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    done = run(tmp_path, "-o", "rows.jsonl/out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: rows.jsonl is a file, so rows.jsonl/out/bench.json cannot lie below it")


@pytest.mark.slow
def test_without_data_the_rows_are_synthetic_and_said_so(tmp_path):
    words = ["bench", "--num-samples", "40", "--steps", "1", "-b", "512"]
    done = commands.run([sys.executable, "-m", "lazarus_cli", *words], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no --data: 40 synthetic rows, the same each time" in done.stderr
    found = json.loads((tmp_path / "bench/bench.json").read_text())
    assert (found["data"], found["tokenizer"], found["samples"]) == ("synthetic", "byte", 40)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--prompt-field", "q"], "no effect without --data"), (["--num-samples", "99999999"], "at most 1,000,000")],
)
def test_what_needs_data_is_refused_without(tmp_path, options, words):
    done = commands.run([sys.executable, "-m", "lazarus_cli", "bench", *options], cwd=tmp_path)
    assert (done.returncode, words in done.stderr, list(tmp_path.iterdir())) == (2, True, [])


@given(st.integers(1, 60), st.integers(64, 4096), st.integers(0, 3))
def test_synthetic_rows_fit_and_repeat(count, longest, seed):
    rows = synthetic_rows(count, longest, seed)
    assert rows == synthetic_rows(count, longest, seed)
    read = [json.loads(line) for line in rows.splitlines()]
    assert len(read) == count
    assert all(row["prompt"] and row["completion"] for row in read)
    assert all(len(row["prompt"]) + len(row["completion"]) <= longest // 2 for row in read)
    assert count < 9 or rows != synthetic_rows(count, longest, seed + 1)


def test_errors_and_warnings_name_the_file_and_line_of_the_user(tmp_path: Path):
    row = '{"prompt":"What?","completion":"That."}\n'
    (tmp_path / "rows.data.jsonl").write_text(row + row + row + "nonsense\n", "utf-8")
    done = run(tmp_path, "-d", "rows.data.jsonl")
    assert done.returncode == 2
    assert "error: rows.data.jsonl:4:1: not JSON" in done.stderr and "lazarus-bench-" not in done.stderr
    (tmp_path / "rows.data.jsonl").write_text(row + row + '{"prompt":"What?","completion":""}\n', "utf-8")
    done = run(tmp_path, "-d", "rows.data.jsonl", "--model", "nix")
    assert "the first in rows.data.jsonl:3: a model learns to answer nothing" in done.stderr
    assert "lazarus-bench-" not in done.stderr
