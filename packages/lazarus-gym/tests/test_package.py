"""What the package promises about itself."""

import doctest
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

import lazarus_gym

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = [each for each in find_examples(README) if each.prefix == "python" and "from trl" not in each.source]
"""Blocks that run without PyTorch."""
MODULES = [module.name for module in walk_packages(lazarus_gym.__path__, "lazarus_gym.")]


def test_every_public_name_resolves():
    assert all(getattr(lazarus_gym, name) is not None for name in lazarus_gym.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_are_true(name: str):
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_examples_of_the_readme_are_true(example: CodeExample, eval_example: EvalExample):
    eval_example.run_print_check(example)
