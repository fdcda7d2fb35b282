"""The help of every command of every package names values, not types."""

import re
from importlib import import_module
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lazarus_core.cli_app import App

APPS = [
    "lazarus_plan.cli.app:app",
    "lazarus_plan.cli.batching:app",
    "lazarus_tokenkit.cli.app:app",
    "lazarus_models.cli.app:app",
    "lazarus_models.cli.app:model_app",
    "lazarus_gym.cli:app",
    "lazarus_train.cli.app:app",
    "lazarus_introspect.cli:app",
    "lazarus_corpus.cli:app",
]


def leaves(app: Any) -> list[list[str]]:
    found = [[each.name or each.callback.__name__.replace("_", "-")] for each in app.registered_commands]
    for group in app.registered_groups:
        inner = group.typer_instance
        name = group.name if isinstance(group.name, str) else inner.info.name
        found += [[str(name), *words] for words in leaves(inner)]
    return found


def commands() -> list[tuple[str, list[str]]]:
    made = [(where, getattr(import_module(where.partition(":")[0]), where.partition(":")[2])) for where in APPS]
    return [(where, words) for where, app in made for words in [[], *leaves(app)]]


@pytest.mark.parametrize(
    ("where", "words"), commands(), ids=lambda each: " ".join(each) if isinstance(each, list) else each
)
def test_help_has_no_names_of_types(where: str, words: list[str]):
    module, _, attribute = where.partition(":")
    app = getattr(import_module(module), attribute)
    assert isinstance(app, App)
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    assert re.findall(r"<[a-z][^<>\n]*>", shown.output.partition("Options:")[2]) == []
    assert re.findall(r"\b(?:list\[|Path\]|int range|float range)", shown.output) == []


def test_a_typer_of_another_kind_would_be_seen():
    def act(size: int = typer.Option(1)) -> None: ...

    plain = typer.Typer(rich_markup_mode=None, add_completion=False)
    plain.command()(act)
    assert re.search(r"<int>|INTEGER", CliRunner().invoke(plain, ["--help"]).output)
