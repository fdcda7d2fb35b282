"""Errors of the library name fields and functions; the commands name options and commands."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

import lazarus_plan
from lazarus_core.cli_app import command_of, deferred_of
from lazarus_core.errors import LazarusError
from lazarus_plan.cli.app import app
from lazarus_plan.cli.option_names import errors_with_options, name_options
from lazarus_plan.git_damage import data_conflict, lock_conflict, plan_conflict
from lazarus_plan.lengths.sidecar import read_lengths

SOURCE = Path(lazarus_plan.__file__).parent
COMMAND = re.compile(r"\blazarus(?:-plan|-tokenkit)? (?!reads)[a-z]|(?<!checkout )--[a-z]")


def texts_of(path: Path) -> list[str]:
    """Texts of a module without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [node.value for node in nodes if isinstance(node.value, str)]


def test_messages_of_the_library_name_no_command_and_no_option():
    # Exported files run without lazarus-plan, codes.py marks commands, command_names.py is for command lines, and git has
    # options of its own.
    apart = {"cli", "exports", "codes.py", "command_names.py", "base.py"}
    modules = [path for path in SOURCE.rglob("*.py") if not apart & set(path.relative_to(SOURCE).parts)]
    found = [(path.name, text) for path in modules for text in texts_of(path) if COMMAND.search(text)]
    assert len(modules) > 50 and not found


@pytest.mark.parametrize("folder", ["batch_plan.lock", "a (old).lock", "b, c"])
def test_a_conflict_names_the_whole_command(folder: str):
    path = Path("x") / folder / "metadata.json"
    assert name_options(lock_conflict(path).message).endswith(
        f": lazarus data batchplan lock --update -o x/{folder} -l LENGTHS"
    )
    assert name_options(plan_conflict(path).message).endswith(
        f": lazarus data batchplan verify -p x/{folder} -l LENGTHS --rebuild"
    )
    words = name_options(data_conflict(path, 3, "l.jsonl").message)
    assert (
        f": lazarus data lengths build -d {path} -t TOKENIZER -o l.jsonl, then lazarus data batchplan lock --update"
        in words
    )


def test_every_command_and_option_exists():
    names = "align bucket_edges epochs force oversize rebuild repeats row_len seed steps token_budget window zero_length recipe"
    options = {name_options(f"`{name}`") for name in names.split()}
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue] (a group)
    made = [
        each if (deferred := deferred_of(each)) is None else command_of(deferred.function, name)
        for name, each in commands.items()
    ]
    assert options <= {option for command in made for each in command.params for option in each.opts}
    for function in (
        "build_plan",
        "materialise",
        "rebase_plan",
        "review_lock",
        "update_lock",
        "verify_plan",
        "write_lock",
    ):
        words = name_options(f"`{function}`").strip("`").split()
        assert words != [function]
        assert set(words) & set(commands), words


def test_members_of_a_file_keep_their_names(tmp_path: Path):
    lengths = tmp_path / "lengths.jsonl"
    lengths.write_text('{"id":"a","seed":1,"epochs":2}\n')
    with pytest.raises(LazarusError, match="found `id`, `seed`, `epochs`"), errors_with_options():
        read_lengths(lengths)


@given(st.text())
def test_other_text_stays(text: str):
    assert name_options(text.replace("`", "").replace("(", "")) == text.replace("`", "").replace("(", "")
