"""Errors of the library name fields; the command line names options."""

import re
from pathlib import Path

import pytest

import lazarus_train
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
