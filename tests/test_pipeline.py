"""The pipeline of the README as a user runs it, on real input: one command after the other, each in its own process."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import commands
import suite

ROWS = 120
STEPS = 6
FIELDS = ("--prompt-field", "question", "--completion-field", "answer")

pytestmark = pytest.mark.slow


def lazarus(*words: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lazarus_cli", *map(str, words)]
    done = commands.run(command)
    assert done.returncode == check, done.stderr
    return done


@pytest.fixture(scope="module")
def real() -> Path:
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LAZARUS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {beside}")
    return folder


@pytest.fixture(scope="module")
def planned(real, tmp_path_factory):
    """The first rows of GSM8K, measured and planned with the tokenizer of stories260k."""
    folder = tmp_path_factory.mktemp("pipeline")
    lines = (real / "datasets/gsm8k/train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]
    (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    shutil.copytree(real / "models/stories260k", folder / "model", copy_function=shutil.copyfile)
    lazarus(
        *("data", "lengths", "build", "-d", folder / "train.jsonl", *FIELDS, "-t", folder / "model"),
        *("-o", folder / "lengths.jsonl"),
    )
    lazarus(
        *("data", "batchplan", "build", "-l", folder / "lengths.jsonl", "-e", 1, "-b", 2048, "-o", folder / "plan"),
        "--predictable",
    )
    lazarus("data", "batchplan", "validate", "-p", folder / "plan", "--strict")
    return folder


@pytest.fixture
def copy(planned, tmp_path):
    """A copy of its own to break."""
    folder = tmp_path / "copy"
    shutil.copytree(planned, folder, ignore=shutil.ignore_patterns("run*"))
    return folder


def train_words(folder: Path, run: str, *more: object) -> tuple[object, ...]:
    return (
        *("train", "sft", "--model", folder / "model", "--data", folder / "train.jsonl", *FIELDS),
        *("--batch-plan", folder / "plan", "-o", folder / run, "--save-every", 2, "--max-steps", STEPS, *more),
    )


def fingerprints(run: Path) -> dict[str, str]:
    files = {
        "weights": run / "final/model.safetensors",
        "optimizer": run / f"checkpoints/step-{STEPS:07d}/optimizer.safetensors",
        "audit": run / "audit.jsonl",
        "metrics": run / "metrics.jsonl",
    }
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


@pytest.mark.parametrize("kind", suite.thinned(["full", "lora"], ["full"]))
def test_killed_and_resumed_training_is_the_same_and_the_result_answers(planned, kind):
    adapters = ("--use-lora", "--lora-rank", "8") if kind == "lora" else ()
    lazarus(*train_words(planned, f"run-{kind}", *adapters))
    killed = planned / f"run-{kind}-killed"
    command = [sys.executable, "-m", "lazarus_cli", *map(str, train_words(planned, killed.name, *adapters))]
    with commands.Command(command) as process:
        audit = killed / "audit.jsonl"
        commands.wait_until(process, lambda: audit.is_file() and audit.read_bytes().count(b"\n") > 3)
        process.send_signal(signal.SIGKILL)
        assert process.finish().returncode == -signal.SIGKILL
    lazarus(*train_words(planned, killed.name, *adapters))
    assert fingerprints(killed) == fingerprints(planned / f"run-{kind}")
    answer = lazarus("infer", "--model", killed / "final", "--prompt", "Natalia sold clips to 48 of her friends")
    assert "tok/s" in answer.stderr
    if adapters:
        assert (killed / "final/adapters/adapters.safetensors").is_file()


def test_the_trained_directory_opens_in_mlx_lm(planned):
    import mlx.core as mx
    from mlx_lm import load

    from lazarus_models import load as ours

    lazarus(*train_words(planned, "run-open"))
    model, tokenizer = load(str(planned / "run-open/final"))
    ids = mx.array([tokenizer.encode("Natalia sold clips")])
    assert mx.array_equal(model(ids), ours(planned / "run-open/final").model(ids))


def refusal(folder: Path) -> str:
    """The one line of a run that is refused with exit 1 before it writes anything."""
    done = lazarus(*train_words(folder, "refused"), check=1)
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (folder / "refused").exists()
    return done.stderr


def test_one_changed_character_names_the_row(copy):
    lines = (copy / "train.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[17])
    row["answer"] = row["answer"][:-1] + ("1" if row["answer"][-1] != "1" else "2")  # as many tokens as before
    lines[17] = json.dumps(row, ensure_ascii=False)
    (copy / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "row 17 (id '17', line 18)" in refusal(copy)


def test_one_edited_merge_is_named(copy):
    tokenizer = json.loads((copy / "model/tokenizer.json").read_text(encoding="utf-8"))
    merges = tokenizer["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]
    (copy / "model/tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert "merges changed" in refusal(copy)


def test_an_edited_line_two_swapped_lines_and_a_truncated_file_are_named(copy):
    path = copy / "plan/plan.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for content, words in (
        (whole.replace(b'"tokens":1', b'"tokens":9', 1), "plan.jsonl:1: "),
        (b"".join([lines[1], lines[0], *lines[2:]]), "another order"),
        (whole[:-30], "cut off"),
        (b"".join(lines[:-1]), "truncated"),
    ):
        path.write_bytes(content)
        assert words in refusal(copy)


def test_bad_input_is_one_line_and_exit_2(copy):
    data = copy / "train.jsonl"
    whole = data.read_bytes()
    lines = whole.splitlines(keepends=True)
    build = ("data", "lengths", "build", "-d", data, *FIELDS, "-o", copy / "l.jsonl")
    for content, words in (
        (b"", "train.jsonl"),
        (b"".join([lines[0], lines[1][:-9] + b"\n", *lines[2:]]), "train.jsonl:2"),
        (b"".join([lines[0], b'{"question": "a"}\n']), "train.jsonl:2"),
        (b"".join([lines[0], lines[1].replace(b"e", b"\xe9", 1)]), "train.jsonl:2"),
    ):
        data.write_bytes(content)
        done = lazarus(*build, "-t", copy / "model", check=2)
        assert done.stderr.count("\n") == 1, done.stderr
        assert words in done.stderr
    data.unlink()
    assert "train.jsonl" in lazarus(*build, "-t", copy / "model", check=2).stderr
    data.write_bytes(whole)
    assert "nonsense" in lazarus(*build, "-t", "nonsense", check=2).stderr
    assert not (copy / "l.jsonl").exists()
    too_long = lazarus(
        *("data", "batchplan", "build", "-l", copy / "lengths.jsonl", "-b", 2048, "--row-len", 128, "-o", copy / "p"),
        check=2,
    )
    assert "the oversize policy is `error`" in too_long.stderr
