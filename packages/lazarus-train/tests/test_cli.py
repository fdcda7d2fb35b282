"""The command: exit codes, one line for what is expected to go wrong, Ctrl-C."""

import resource
import signal
import subprocess
import sys

import pytest

import commands
from lazarus_train import train
from suite import thinned


def command(setup, *more: object, model=None, data=None, plan=None) -> list[str]:
    arguments = [
        *("--model", model or setup.model, "--data", data or setup.data, "--batch-plan", plan or setup.plan),
        *("-o", setup.folder / "run", "--learning-rate", "5e-3"),
        *more,
    ]
    return [sys.executable, "-m", "lazarus_train", "sft", *map(str, arguments)]


def run(*arguments, **keywords) -> subprocess.CompletedProcess[str]:
    return commands.run(command(*arguments, **keywords))


@pytest.mark.slow
def test_a_run_prints_its_result_on_stdout_and_the_next_command_on_stderr(setup):
    done = run(setup, "--max-steps", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(setup.folder / "run" / "final")
    assert "lazarus-models infer --model" in done.stderr


@pytest.mark.slow
def test_bad_input_is_one_line_and_exit_2(setup):
    (setup.folder / "empty.jsonl").touch()
    (setup.folder / "bad.jsonl").write_text('{"prompt":"a","completion":"b"}\n{"prompt":"a"\n')
    (setup.folder / "field.jsonl").write_text('{"question":"a","answer":"b"}\n')
    (setup.folder / "latin.jsonl").write_bytes(b'{"prompt":"\xe9","completion":"b"}\n')
    for keywords, words in (
        ({"data": setup.folder / "none.jsonl"}, "none.jsonl"),
        ({"data": setup.folder / "empty.jsonl"}, "empty.jsonl"),
        ({"data": setup.folder / "bad.jsonl"}, "bad.jsonl:2"),
        ({"data": setup.folder / "field.jsonl"}, "field.jsonl:1"),
        ({"data": setup.folder / "latin.jsonl"}, "latin.jsonl:1"),
        ({"plan": setup.folder / "none"}, "does not exist"),
        ({"model": setup.folder / "none"}, "none"),
    ):
        done = run(setup, **keywords)
        lines = done.stderr.strip().splitlines()
        assert (done.returncode, len(lines)) == (2, 1), done.stderr
        assert lines[0].startswith("error: ")
        assert words in lines[0]
    assert not (setup.folder / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--learning-rate", "inf"], "'--learning-rate': must be a finite number"),
        (["--learning-rate", "0"], "--learning-rate: must be above 0"),
        (["--weight-decay", "nan"], "'--weight-decay': must be a finite number"),
        (["--use-lora", "--lora-alpha", "0"], "--lora-alpha: must be above 0"),
        (["--use-lora", "--lora-rank", "-1"], "--lora-rank: must be above 0"),
        (["--lora-rank", "4"], "--lora-rank needs --use-lora"),
        (["--lora-dropout", "0"], "--lora-dropout needs --use-lora"),
        (["--eval-every", "4"], "--eval-every needs --eval-data"),
        (["--eval-data", "a/test.jsonl", "--eval-data", "b/test.jsonl"], "two are called 'test'; write NAME=FILE"),
        (
            ["--eval-data", "a=t", "--eval-every", "1", "--patience", "1", "--min-gap", "-1"],
            "--min-gap: must be",
        ),
        (["--min-gap", "1"], "--min-gap needs --patience"),
        (["--eval-data", ""], "--eval-data '': give FILE or NAME=FILE"),
        (["--eval-data", "=test.jsonl"], "--eval-data '=test.jsonl': give FILE or NAME=FILE"),
        (["--max-steps", "0"], "--max-steps: must be above 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_the_name_it_was_given(options, words):
    from typer.testing import CliRunner

    from lazarus_train.cli.app import app

    needed = ["--model", "m", "--data", "d", "--batch-plan", "p", "-o", "o"]
    result = CliRunner().invoke(app, ["sft", *needed, *options])
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--objective", "diffusion"], "--objective diffusion needs --mask-id"),
        (["--mask-id", "5"], "--mask-id has no effect with --objective causal"),
        (["--objective", "mntp", "--mask-id", "5", "--draws", "2"], "--draws has no effect with --objective mntp"),
    ],
)
def test_an_option_of_another_objective_is_refused_in_words(options, words):
    from typer.testing import CliRunner

    from lazarus_train.cli.app import app

    needed = ["--model", "m", "--data", "d", "--batch-plan", "p", "-o", "o"]
    result = CliRunner().invoke(app, ["pretrain", *needed, *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", "").split())


def test_held_out_rows_have_a_name_whatever_their_files_is():
    from lazarus_train.cli.option_names import read_named

    given = ["a/(test).jsonl", "b=c=d.jsonl", ".hidden", "-x.jsonl", "a b=c.jsonl"]
    assert list(read_named(given)) == ["test-", "b", "hidden", "x", "a-b-c"]
    assert str(read_named(given)["b"]) == "c=d.jsonl"


def test_settings_not_given_take_their_defaults():
    from lazarus_train.config import LoraConfig

    assert LoraConfig(rank=6).alpha == 12.0
    assert LoraConfig(rank=6, alpha=1.5).alpha == 1.5


@pytest.mark.slow
def test_a_stale_plan_is_one_line_and_exit_1(setup):
    content = setup.data.read_text().replace("make 0", "made 0", 1)
    setup.data.write_text(content)
    done = run(setup)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "row 0 (id '0', line 1)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), thinned([(signal.SIGINT, 130), (signal.SIGTERM, 143)], [(signal.SIGTERM, 143)])
)
def test_a_signal_writes_a_checkpoint_and_the_same_command_goes_on(setup, number, code):
    setup.build_plan(epochs=40)
    audit = setup.folder / "run" / "audit.jsonl"
    with commands.Command(command(setup)) as process:
        commands.wait_until(process, lambda: audit.is_file() and audit.read_bytes().count(b"\n") > 3)
        process.send_signal(number)
        done = process.finish()
    assert done.returncode == code, done.stderr
    assert "the checkpoint is written" in done.stderr
    assert len(list((setup.folder / "run" / "checkpoints").glob("step-*"))) == 1
    done = run(setup)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(setup):
    options = ("--save-every", 1, "--max-steps", 3)
    train(setup.config("straight", save_every=1, max_steps=3))
    train(setup.config("run", save_every=1, max_steps=1))
    for most in (400, 20_000):  # bytes of a file: less than the record, less than the weights
        done = subprocess.run(
            command(setup, *options),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda most=most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert (done.returncode, len(lines)) == (2, 1), done.stderr
        assert "File too large" in lines[0]
        assert "Traceback" not in done.stderr
    done = run(setup, *options)
    assert done.returncode == 0, done.stderr
    assert setup.fingerprints("run") == setup.fingerprints("straight")


@pytest.mark.slow
def test_a_file_in_the_folders_place_is_one_line_and_exit_2(setup):
    (setup.folder / "run").write_text("a file where the folder should be")
    done = run(setup)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
