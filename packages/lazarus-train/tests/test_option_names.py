"""Errors of the library name fields; the command line names options."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lazarus_train
from lazarus_core.errors import LazarusError
from lazarus_tokenkit import FieldNames, read_samples
from lazarus_train.cli.app import app
from lazarus_train.cli.option_names import errors_with_options, name_options
from lazarus_train.errors import SetupError

PACKAGE = Path(lazarus_train.__file__).parent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("choose another `output`", "choose another --output"),
        ("`resume=runs/a/checkpoints/step-0000004` goes back", "--resume runs/a/checkpoints/step-0000004 goes back"),
        (
            "`micro_rows=2`, `lora`, `lora.rank=8`, `recomputes`",
            "--micro-rows 2, --use-lora, --lora-rank 8, --gradient-checkpointing",
        ),
        ("`sample_prompts` 'why'", "--sample-prompt 'why'"),
        (
            "plan with `oversize=error`, `row_len=64`, `mode=padded`",
            "plan with --oversize error, --row-len 64, --mode padded",
        ),
        (
            "rebuild the plan with `materialise`, or with `build_plan`",
            "rebuild the plan with `lazarus data batchplan materialise`, or with --build-plan",
        ),
        (
            "`final`, `auto` and `model.embed_tokens.weight` stay",
            "`final`, `auto` and `model.embed_tokens.weight` stay",
        ),
    ],
)
def test_fields_in_backquotes_become_options(text, shown):
    assert name_options(text) == shown


def test_an_error_keeps_its_class_and_code():
    with pytest.raises(SetupError, match=r"^give another --output$") as caught, errors_with_options():
        raise SetupError("give another `output`", "LR-E106")
    assert (caught.value.code, caught.value.message) == ("LR-E106", "give another --output")


@pytest.mark.parametrize("column", ["output", "model", "seed", "epochs", "template"])
def test_columns_of_data_keep_their_names(column, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"input": "2 + 2?", column: 4}) + "\n")
    with pytest.raises(LazarusError) as caught, errors_with_options():
        next(read_samples(data))
    assert f"`{column}`" in caught.value.message.partition(" among ")[2]
    with pytest.raises(LazarusError) as caught, errors_with_options():
        next(read_samples(data, FieldNames(prompt="input", completion=column)))
    assert f"`{column}` is a number" in caught.value.message


@pytest.mark.parametrize(
    ("command", "end"),
    [
        ("sft", " (the options are --prompt-field, --completion-field, --messages-field, --text-field)"),
        ("pretrain", " (the option is --text-field)"),
        ("dpo", "`completion`: answer"),
    ],
)
def test_an_error_that_asks_for_names_of_columns_ends_with_the_options(setup, command, end):
    setup.data.write_text('{"input": "2 + 2?", "output": "4"}\n')
    words = [command, "--model", setup.model, "--data", setup.data, "--build-plan", "-o", setup.folder / "run"]
    error = CliRunner().invoke(app, [*map(str, words)]).exception
    assert isinstance(error, LazarusError) and error.code == "LT-E310" and error.message.endswith(end)


@pytest.mark.parametrize("plan", ["--build-plan", "--batch-plan"])
def test_a_folder_that_is_no_model_is_not_called_a_tokenizer(setup, plan):
    folder = setup.folder / "wrong"
    folder.mkdir()
    planned = [plan, setup.plan] if plan == "--batch-plan" else [plan]
    words = ["sft", "--model", folder, "--data", setup.data, *planned, "-o", setup.folder / "run"]
    error = CliRunner().invoke(app, [*map(str, words)]).exception
    assert isinstance(error, LazarusError) and error.code == "LM-E100" and "config.json does not exist" in error.message


def test_the_library_names_no_option():
    """Options are named by the commands, by the code table and by the command that a report shows."""
    allowed = {"codes.py", "run_dir/report.py"}
    option = re.compile(r"\"[^\"]*--[a-z]")
    found = [
        f"{name}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if (name := path.relative_to(PACKAGE).as_posix()) not in allowed and not name.startswith("cli/")
        for line in path.read_text(encoding="utf-8").splitlines()
        if option.search(line)
    ]
    assert found == []
