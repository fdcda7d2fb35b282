import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import lazarus_tokenkit

MODULES = [module.name for module in pkgutil.walk_packages(lazarus_tokenkit.__path__, "lazarus_tokenkit.")]


ROOMS = ["analysis", "checks", "encoding", "lengths", "preparation", "samples", "templates", "tokenizers", "training"]


def test_the_root_exports_between_10_and_25_names():
    names = [name for name in lazarus_tokenkit.__all__ if name != "__version__"]
    assert 10 <= len(names) <= 25, len(names)


@pytest.mark.parametrize("name", lazarus_tokenkit.__all__)
def test_every_public_name_resolves(name: str):
    assert getattr(lazarus_tokenkit, name) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_resolves_and_is_not_hidden_by_a_module(room: str):
    package = importlib.import_module(f"lazarus_tokenkit.{room}")
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert package.__all__, "the stub lists no names"
    assert not modules & set(package.__all__)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_importing_a_room_imports_none_of_its_modules():
    code = (
        "import sys, importlib\n"
        f"for room in {ROOMS}: importlib.import_module('lazarus_tokenkit.' + room)\n"
        "print([name for name in sys.modules if name.count('.') > 1 and name.startswith('lazarus_tokenkit')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


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
