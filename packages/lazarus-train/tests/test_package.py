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
