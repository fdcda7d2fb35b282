import doctest
import importlib
import pkgutil

import pytest

import lazarus_models

MODULES = [module.name for module in pkgutil.walk_packages(lazarus_models.__path__, "lazarus_models.")]


def test_every_public_name_resolves_to_its_own_module():
    for name in MODULES:
        importlib.import_module(name)  # a module named like a function would hide it
    for name, home in lazarus_models._HOME.items():
        found = getattr(lazarus_models, name)
        assert found is getattr(importlib.import_module(f"lazarus_models.{home}"), name), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lazarus_models.nonsense


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
