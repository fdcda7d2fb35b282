"""A family of another package: an entry point named by its `model_type`."""

import json
import sys
from pathlib import Path

import pytest

from lazarus_models import GenerationConfig, UnifiedPipeline, generate, init_model, load, read_config, save
from lazarus_models.errors import ConfigError, UnsupportedModel
from lazarus_models.families import canonical, family_of, plugins
from lazarus_models.families.llama import LlamaConfig
from lazarus_models.trees import weights
from toy_packages import lay_out

TOY = '''
from typing import Literal

from lazarus_models.config import BlockConfig, MLPConfig, NormConfig, TransformerConfig
from lazarus_models.families.family import Family, attention, decoder


class ToyConfig(TransformerConfig):
    """The keys of its `config.json`."""

    hidden_act: Literal["gelu"] = "gelu"
    mlp_bias: bool = True


def architecture(config):
    norm = NormConfig(eps=config.rms_norm_eps)
    feed_forward = MLPConfig(width=config.intermediate_size, bias=config.mlp_bias, activation="gelu", gated=False)
    block = BlockConfig(mixer=attention(config), feed_forward=(feed_forward,), norm=norm)
    return decoder(config, (block,) * config.num_hidden_layers, norm)


FAMILY = Family(ToyConfig, architecture)
'''
RAW = {
    "model_type": "toy",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 256,
}


def install(folder: Path, source: str = TOY, *, package="toy-family", model_type="toy", module="toy_family") -> Path:
    """A package in a folder, as an installer leaves it: a module, and metadata with the entry point."""
    points = {model_type: f"{module}:FAMILY"}
    return lay_out(folder, source, package=package, module=module, group="lazarus.families", points=points)


@pytest.fixture
def put(tmp_path_factory, monkeypatch):
    """Puts a package on the import path; it is forgotten after the test."""

    def put(source: str = TOY, **names: str) -> None:
        monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), source, **names))

    yield put
    for module in ("toy_family", "second_family"):
        sys.modules.pop(module, None)
    plugins._LOADED.clear()
    plugins._OWNERS.clear()


def test_an_outside_family_is_made_saved_loaded_and_generates(put, byte_tokenizer, tmp_path):
    put()
    lm = init_model(canonical(RAW, "test"), byte_tokenizer, seed=1)
    save(lm, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.family == "toy"
    assert type(again.config).__name__ == "ToyConfig"
    assert {name: array.tolist() for name, array in weights(again.model).items()} == {
        name: array.tolist() for name, array in weights(lm.model).items()
    }
    assert "model.layers.0.mlp.c_fc.bias" in weights(again.model)
    greedy = GenerationConfig(max_new_tokens=5)
    assert generate(again, "Once", greedy).ids == generate(lm, "Once", greedy).ids
    assert UnifiedPipeline(again).family == "toy"


def test_it_is_imported_only_when_its_model_type_is_asked_for(put):
    put("raise RuntimeError('imported')\n")
    assert canonical({**RAW, "model_type": "llama"}, "test").model_type == "llama"
    assert "toy_family" not in sys.modules
    with pytest.raises(UnsupportedModel, match=r"'lama' is not supported; supported are .*starcoder2, toy$") as found:
        family_of("lama")
    assert found.value.code == "LM-E110"
    assert "toy_family" not in sys.modules


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import a_module_that_is_not_there\n", "cannot be loaded (ModuleNotFoundError: No module named"),
        ("FAMILIES = 1\n", "cannot be loaded (AttributeError:"),
        ("FAMILY = dict\n", "cannot be used: `toy_family:FAMILY` must be a `Family` of lazarus_models.families"),
        (TOY.replace("Family(ToyConfig", "Family(dict"), "cannot be used"),
        (TOY.replace("Family(ToyConfig, architecture)", "Family(ToyConfig, None)"), "cannot be used"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(put, source, message):
    put(source)
    with pytest.raises(UnsupportedModel) as found:
        canonical(RAW, "test")
    assert f"the family 'toy' of the package toy-family 1.0 {message}" in found.value.message
    assert (found.value.code, found.value.exit_code) == ("LM-E180", 2)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            TOY.replace("    norm = ", "    return {}\n    norm = "),
            "`architecture` (it gave a dict, not a DecoderConfig)",
        ),
        (TOY.replace("width=config.inter", "width=config.outer"), "`architecture` (AttributeError: "),
        (TOY.replace("activation=", "activations="), "`architecture` (ValidationError: "),
        (TOY.replace("re)\n", "re, layout=lambda config: 1)\n"), "`layout` (it gave a int, not a Layout)"),
        (
            TOY.replace(
                "    mlp_bias",
                "    @classmethod\n    def _complete(cls, said):\n        said['absent']\n\n    mlp_bias",
            ),
            "`config` (KeyError: 'absent')",
        ),
    ],
)
def test_an_error_of_its_functions_names_the_package(put, source, message):
    put(source)

    def use() -> None:
        config = canonical(RAW, "test")
        family_of("toy").build(config)
        family_of("toy").layout_of(config)

    with pytest.raises(UnsupportedModel) as found:
        use()
    assert f"the family 'toy' of the package toy-family 1.0 failed in its {message}" in found.value.message
    assert found.value.code == "LM-E181"


def test_wrong_keys_of_a_file_are_errors_of_the_file(put, tmp_path):
    put()
    (tmp_path / "config.json").write_text(json.dumps({**RAW, "hidden_size": -1}))
    with pytest.raises(ConfigError, match=r"config\.json: hidden_size: .*above 0") as found:
        read_config(tmp_path)
    assert found.value.code == "LM-E103"


def test_two_packages_of_one_model_type_are_refused(put):
    put()
    put(package="second", module="second_family")
    with pytest.raises(UnsupportedModel, match=r"provided by second 1\.0, toy-family 1\.0: uninstall") as found:
        canonical(RAW, "test")
    assert found.value.code == "LM-E180"


def test_a_package_cannot_replace_a_family_of_this_package(put):
    put(model_type="llama")
    assert type(canonical({**RAW, "model_type": "llama"}, "test")) is LlamaConfig
    assert "toy_family" not in sys.modules
