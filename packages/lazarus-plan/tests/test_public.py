"""The package as a whole: its names, its examples, its README, its weight."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

import lazarus_plan

README = Path(__file__).parents[1] / "README.md"
MODULES = [name for _, name, _ in walk_packages(lazarus_plan.__path__, "lazarus_plan.") if "__main__" not in name]


@pytest.mark.parametrize("name", lazarus_plan._HOME)  # pyright: ignore[reportPrivateUsage] # the names it offers
def test_every_public_name_resolves(name: str):
    assert getattr(lazarus_plan, name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_hold(module: str):
    assert doctest.testmod(import_module(module)).failed == 0


@pytest.mark.parametrize("example", [each for each in find_examples(README) if each.prefix == "python"], ids=str)
def test_the_readme_runs(
    example: CodeExample, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    eval_example.run_print_check(example)


def test_help_loads_neither_numpy_nor_pydantic():
    check = (
        "import sys, lazarus_plan.cli as cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'pydantic', 'rich', 'hypothesis'} & sys.modules.keys(), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)
