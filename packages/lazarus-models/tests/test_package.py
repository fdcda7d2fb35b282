import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import lazarus_models

MODULES = [module.name for module in pkgutil.walk_packages(lazarus_models.__path__, "lazarus_models.")]


def test_no_public_name_is_hidden_by_a_module():
    for name in MODULES:
        importlib.import_module(name)  # a module named like a function would hide it
    for name in lazarus_models.__all__:
        found = getattr(lazarus_models, name)
        assert not inspect.ismodule(found), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute nonsense"):
        _ = lazarus_models.nonsense


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.slow
def test_mlx_lm_is_whole_only_for_who_asks_for_it():
    code = """
import resource, sys
from lazarus_models import GenerationConfig, LoraConfig, apply_lora, generate_tokens, new
from lazarus_tokenkit import load_tokenizer
before = resource.getrlimit(resource.RLIMIT_NOFILE)
model = new("nano", load_tokenizer("byte"), seed=0).model
apply_lora(model, LoraConfig(), seed=0)
assert len(list(generate_tokens(model, [1], GenerationConfig(max_new_tokens=2)))) == 2
assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
assert "transformers" not in sys.modules
import mlx_lm
assert mlx_lm.load.__module__ == "mlx_lm.utils"
assert "transformers" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
