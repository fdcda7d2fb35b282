import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import lazarus_train
from lazarus_core.cli_app import command_of
from lazarus_train import EarlyStopSettings, LoraConfig, OptimizerSettings, TrainConfig, train
from lazarus_train.cli.app import app
from lazarus_train.cli.option_names import option_of
from lazarus_train.config import _READ_BY, FULL_RATE, LORA_RATE
from lazarus_train.objective_registry import BUILT_IN, settings_type

SOURCE = Path(lazarus_train.__file__).parent


def test_every_setting_is_read_somewhere():
    code = "\n".join(path.read_text() for path in SOURCE.glob("**/*.py") if path.name not in ("config.py", "cli.py"))
    objectives = [settings_type(kind) for kind in BUILT_IN]
    for model in (TrainConfig, OptimizerSettings, EarlyStopSettings, *objectives):  # LoraConfig is handed on whole
        for name in model.model_fields:
            read = rf"(config|settings|_config|objective)\.(\w+\.)?{name}(_files)?\b"
            assert re.search(read, code), f"{model.__name__}.{name}"


def test_every_setting_that_a_refusal_names_is_an_option():
    code = "".join(path.read_text() for path in (SOURCE / "config.py", *(SOURCE / "objectives").glob("*.py")))
    messages = re.findall(r'ValueError\(\s*f?"([^"]*)"', code)
    named = {name for message in messages for name in re.findall(r"`([\w.]+)`", message)} | set(_READ_BY)
    commands = [command_of(each.function, name) for name, each in app.deferred.items()]
    options = {spelling for command in commands for option in command.params for spelling in option.opts}
    assert len(named) > 15
    assert {option_of(name) for name in named} <= options


def test_what_was_run_can_be_run_again_from_its_record(setup):
    config = setup.config(max_steps=2, lora=LoraConfig())
    train(config)
    record = json.loads((setup.folder / "run" / "config.json").read_text())
    assert TrainConfig.model_validate(record["config"]) == config
    assert record["plan_id"].startswith("sha256:")
    assert {"mlx", "lazarus-plan"} <= record["versions"].keys()
    assert {"device", "threads", "blas_threads"} <= record["policy"].keys()


@pytest.mark.parametrize(
    "settings",
    [{"max_steps": 0}, {"eval_every": 3}, {"micro_rows": -1}, {"unknown": 1}, {"optimizer": {"learning_rate": 0}}],
)
def test_nonsense_is_refused(setup, settings):
    with pytest.raises(ValidationError):
        setup.config(**settings)


def test_the_command_states_the_rates_that_are_taken():
    full, lora = (f"{rate:.0e}".replace("e-0", "e-") for rate in (FULL_RATE, LORA_RATE))
    shown = CliRunner().invoke(app, ["sft", "--help"]).output
    assert f"[default: {full}, with LoRA {lora}]" in " ".join(shown.split())
