"""A run from nothing: its model is the one that lazarus-models makes of the same shape, tokenizer and seed."""

import json

import pytest
from typer.testing import CliRunner

import lazarus_models
from lazarus_core.errors import LazarusError
from lazarus_tokenkit import load_tokenizer
from lazarus_train import verify_run
from lazarus_train.cli.app import app
from lazarus_train.errors import SetupError
from lazarus_train.init_model import FreshModel, make_model

TEXTS = "".join(json.dumps({"text": f"{a} and {a} make {a + a}."}) + "\n" for a in range(9))


@pytest.fixture
def pretrain(tmp_path):
    (tmp_path / "data.jsonl").write_text(TEXTS)

    def call(*options):
        given = ["--data", tmp_path / "data.jsonl", "-o", tmp_path / "run", "--build-plan", "--predictable", "-b", 128]
        result = CliRunner().invoke(app, ["pretrain", *map(str, [*given, "--max-steps", 2, *options])])
        if result.exception is not None and not isinstance(result.exception, SystemExit | LazarusError):
            raise result.exception
        return result

    return call


def weights(path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_one_command_makes_the_model_that_two_commands_make(pretrain, tmp_path):
    made = lazarus_models.init_model("nano", load_tokenizer("byte"), seed=3, vocab_size=270)
    lazarus_models.save(made, tmp_path / "made")
    assert pretrain("--preset", "nano", "-t", "byte", "--vocab-size", 270, "--seed", 3).exit_code == 0
    run = tmp_path / "run"
    assert weights(run / "initial") == weights(tmp_path / "made")
    assert (run / "initial/config.json").read_bytes() == (tmp_path / "made/config.json").read_bytes()
    assert all(link.holds for link in verify_run(run))
    first = weights(run / "final")
    assert pretrain("--model", tmp_path / "made", "--seed", 3, "-o", tmp_path / "two").exit_code == 0
    assert weights(tmp_path / "two/final") == first


def test_a_config_gives_the_shape_and_the_tokenizer_its_vocabulary(fresh_model, tmp_path):
    asked = FreshModel(fresh_model / "config.json", "byte", None, seed=0)
    make_model(asked, tmp_path / "run", resume="auto")
    made = lazarus_models.load(tmp_path / "run/initial")
    assert made.config.num_hidden_layers == 1
    assert made.config.vocab_size == load_tokenizer("byte").vocab_size


def test_the_same_again_goes_on_and_another_model_only_from_the_start(pretrain, tmp_path):
    options = ["--preset", "nano", "-t", "byte", "--save-every", 1]
    assert pretrain(*options).exit_code == 0
    before = weights(tmp_path / "run/initial")
    assert pretrain(*options, "--max-steps", 3).exit_code == 0
    assert weights(tmp_path / "run/initial") == before
    for other in (["--seed", 1], ["--preset", "tiny-test"], ["--vocab-size", 300]):
        refused = pretrain(*options, *other)
        assert isinstance(refused.exception, SetupError)
        assert "began with another model" in str(refused.exception)
        assert weights(tmp_path / "run/initial") == before
    assert pretrain(*options, "--seed", 1, "--resume", "none").exit_code == 0
    assert weights(tmp_path / "run/initial") != before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give one of --model, --preset and --config"),
        (["--preset", "nano", "--model", "m"], "give one of --model, --preset and --config"),
        (["--preset", "nano"], "--preset and --config need --tokenizer"),
        (["--model", "m", "-t", "byte"], "--tokenizer has no effect with --model"),
        (["--model", "m", "--vocab-size", 9], "--vocab-size has no effect with --model"),
        (["--preset", "huge", "-t", "byte"], "no preset 'huge'"),
        (["--preset", "nano", "-t", "byte", "--vocab-size", 9], "is below the tokenizer's"),
        (["--config", "nothing.json", "-t", "byte"], "nothing.json"),
    ],
)
def test_options_that_make_no_model_are_refused(pretrain, tmp_path, options, words):
    result = pretrain(*options)
    assert result.exit_code == 2 or getattr(result.exception, "exit_code", None) == 2
    assert words in result.output + str(result.exception)
    assert not (tmp_path / "run").exists()
