import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import lazarus_tokenkit

MODULES = [module.name for module in pkgutil.walk_packages(lazarus_tokenkit.__path__, "lazarus_tokenkit.")]


@pytest.mark.parametrize("name", lazarus_tokenkit.__all__)
def test_every_public_name_resolves(name: str):
    assert getattr(lazarus_tokenkit, name) is not None


def test_public_names_are_listed_before_their_first_use():
    code = "import lazarus_tokenkit; print('load_tokenizer' in dir(lazarus_tokenkit))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = lazarus_tokenkit.nothing


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_hold(module: str):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.slow
def test_help_loads_nothing_heavy():
    heavy = "numpy", "pydantic", "tokenizers", "jinja2", "rich", "mlx", "transformers"
    code = (
        "import sys, lazarus_tokenkit.cli.app as cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
