import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import lazarus_models

MODULES = [module.name for module in pkgutil.walk_packages(lazarus_models.__path__, "lazarus_models.")]


ROOMS = ["adapters", "chat", "components", "composition", "config", "generation", "loading", "ops"]


@pytest.mark.parametrize("room", [None, *ROOMS])
def test_every_public_name_is_found_and_none_is_hidden_by_a_module(room):
    for name in MODULES:
        importlib.import_module(name)  # a module named like a function would hide it
    package = importlib.import_module("lazarus_models" + (f".{room}" if room else ""))
    assert package.__all__
    for name in package.__all__:
        assert not inspect.ismodule(getattr(package, name)), name
    assert set(package.__all__) <= set(dir(package))


def test_the_root_has_the_names_that_most_programs_need():
    assert len(lazarus_models.__all__) <= 25


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute nonsense"):
        _ = lazarus_models.nonsense


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.slow
def test_a_process_keeps_its_limits_and_loads_no_other_framework():
    code = """
import resource, sys
from lazarus_models import GenerationConfig, LoraConfig, apply_lora, init_model
from lazarus_models.generation import generate_tokens
from lazarus_tokenkit import load_tokenizer
before = resource.getrlimit(resource.RLIMIT_NOFILE)
model = init_model("nano", load_tokenizer("byte"), seed=0).model
apply_lora(model, LoraConfig(), seed=0)
assert len(list(generate_tokens(model, [1], GenerationConfig(max_new_tokens=2)))) == 2
assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
assert not {"mlx_lm", "transformers", "torch"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
