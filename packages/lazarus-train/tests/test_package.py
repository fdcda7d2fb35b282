import doctest
import importlib
import pkgutil

import pytest

import lazarus_train
import lazarus_train.objectives

MODULES = [
    module.name
    for package in (lazarus_train, lazarus_train.objectives)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_is_there_and_no_module_has_it():
    for name, module in lazarus_train._HOME.items():
        assert getattr(lazarus_train, name) is getattr(importlib.import_module(f"lazarus_train.{module}"), name)
        assert f"lazarus_train.{name}" not in MODULES
