"""A model whose family another package provides is trained like any other."""

import json
import sys
from pathlib import Path

import pytest

from lazarus_models import load
from lazarus_models.families import plugins
from lazarus_train import train, verify_run
from toy_packages import lay_out

TOY = """
from lazarus_models.families.family import Family
from lazarus_models.families.llama import FAMILY as LLAMA

FAMILY = Family(LLAMA.config, LLAMA.architecture)
"""
PACKAGE = {
    "package": "toy-family",
    "module": "toy_family",
    "group": "lazarus.families",
    "points": {"toy": "toy_family:FAMILY"},
}


@pytest.fixture
def toy(tmp_path_factory, monkeypatch):
    """The toy package on the import path; it is forgotten after the test."""
    monkeypatch.syspath_prepend(lay_out(tmp_path_factory.mktemp("site"), TOY, **PACKAGE))
    yield
    sys.modules.pop("toy_family", None)
    plugins._LOADED.clear()
    plugins._OWNERS.clear()


def steps(folder: Path):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


def test_its_training_equals_that_of_the_same_layers_in_a_family_of_this_package(setup, toy):
    train(setup.config("llama", max_steps=2))
    file = setup.model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "toy"}))
    train(setup.config("toy", max_steps=2))
    assert len(steps(setup.folder / "toy")) == 2
    assert steps(setup.folder / "toy") == steps(setup.folder / "llama")
    assert load(setup.folder / "toy/final").family == "toy"
    assert "toy_family" in sys.modules
    assert all(link.holds for link in verify_run(setup.folder / "toy"))
