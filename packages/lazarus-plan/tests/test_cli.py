import json
from pathlib import Path

import pytest

from lazarus_plan.cli import app
from lazarus_plan.console import run


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command line: `code, out, err = command("info", "-p", path)`."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lazarus-plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run(app, "lazarus-plan")
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


def test_build_prints_a_receipt_and_writes_the_plan(command, lengths_file: Path, tmp_path: Path):
    code, out, _ = command("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--predictable")
    assert code == 0 and "provably minimal" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"plan.jsonl", "metadata.json", "stats.json"}


def test_a_dry_run_writes_nothing(command, lengths_file: Path, tmp_path: Path):
    code, _, err = command("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--dry-run")
    assert code == 0 and "nothing was written" in err and not (tmp_path / "out").exists()


def test_a_plan_without_a_seed_draws_one_and_records_it(command, lengths_file: Path, tmp_path: Path):
    arguments = ("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--json")
    seeds = [json.loads(command(*arguments)[1])["config"]["seed"] for _ in range(2)]
    assert seeds[0] != seeds[1]


def test_info_and_validate_accept_a_sound_plan(command, folder: Path):
    assert command("info", "-p", folder)[0] == 0
    code, out, err = command("validate", "-p", folder, "--strict")
    assert (code, out) == (0, "") and "sound" in err


def test_validate_says_no_with_exit_1_and_names_the_line(command, folder: Path):
    path = folder / "plan.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    code, out, _ = command("validate", "-p", folder)
    assert code == 1 and out.startswith("error LP-E112: plan.jsonl:1:")
    code, _, err = command("info", "-p", folder)
    assert code == 1 and err.count("\n") == 1 and err.startswith("error: plan.jsonl:1:") and "[LP-E112]" in err


def test_strict_makes_warnings_fail(command, tmp_path: Path):
    (tmp_path / "l.jsonl").write_text('{"id":"a","length":60}\n', "utf-8")
    command("build", "-l", tmp_path / "l.jsonl", "-b", 64, "-o", tmp_path / "plan")
    assert command("validate", "-p", tmp_path / "plan")[0] == 0
    assert command("validate", "-p", tmp_path / "plan", "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "-l", "none.jsonl", "-b", "64", "-o", "out"], "none.jsonl does not exist"),
        (["build", "-l", "bad.jsonl", "-b", "64", "-o", "out"], "bad.jsonl:2:"),
        (["build", "-l", "good.jsonl", "-b", "32", "-o", "out"], "--oversize"),
        (["info", "-p", "none"], "none does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text('{"id":"a","length":1}\n{"id":\n', "utf-8")
    Path("good.jsonl").write_text('{"id":"a","length":60}\n', "utf-8")
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ") and words in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "-l", "x", "-b", "0", "-o", "out"],
        ["build", "-l", "x", "-b", "64", "--row-len", "65", "-o", "out"],
        ["build", "-l", "x", "-b", "64", "-o", "out", "--predictable", "--seed", "1"],
        ["shard", "-p", "x", "--world", "2", "--rank", "2"],
    ],
)
def test_bad_usage_is_exit_2(command, arguments):
    assert command(*arguments)[0] == 2


def test_shard_deals_every_row_of_a_step(command, folder: Path):
    lines = [json.loads(command("shard", "-p", folder, "--world", 2, "--rank", r, "--step", 1)[1]) for r in range(2)]
    samples = [sample for line in lines for row in line["rows"] for sample in row["samples"]]
    step = json.loads((folder / "plan.jsonl").read_bytes().splitlines()[1])
    assert sorted(samples) == sorted(step["samples"])
