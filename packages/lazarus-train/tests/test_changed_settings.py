"""A message about a run whose settings, plan or model differ names the field, the value before and the value now."""

import shutil

import pytest

from lazarus_train import OptimizerSettings, plan_run, train
from lazarus_train.errors import ForeignCheckpoint, SetupError
from lazarus_train.init_model import FreshModel, make_model
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.chain import RunAudit
from lazarus_train.run_dir.checkpoint import read_state


def test_a_resumed_run_names_every_setting_that_differs(setup):
    train(setup.config(max_steps=2))
    with pytest.raises(ForeignCheckpoint) as caught:
        train(setup.config(max_steps=4, optimizer=OptimizerSettings(learning_rate=1e-3), seed=7))
    assert "`optimizer.learning_rate` was 0.005, is now 0.001" in caught.value.message
    assert "`seed` was 0, is now 7" in caught.value.message


def test_another_plan_names_the_setting(setup):
    planned = {"row_len": 32, "token_budget": 64, "seed": 1}
    config = setup.config().model_copy(update={"batch_plan": setup.folder / "run/batch_plan"})
    plan_run(config, planned)
    with pytest.raises(SetupError, match=r"`config\.epochs` was 1, is now 2"):
        plan_run(config, {**planned, "epochs": 2})


def test_another_fresh_model_names_the_setting(setup):
    train(setup.config(max_steps=2))
    make_model(FreshModel("nano", "byte", None, seed=0), setup.folder / "new", resume="auto")
    shutil.copytree(setup.folder / "new/initial", setup.folder / "run/initial", dirs_exist_ok=True)
    with pytest.raises(SetupError, match=r"create \(`seed` was 0, is now 1\): give"):
        make_model(FreshModel("nano", "byte", None, seed=1), setup.folder / "run", resume="auto")


def test_another_base_names_the_files(tmp_path):
    before, now = (Base({"model.safetensors": digest * 64, "config.json": "c" * 64}) for digest in "ab")
    with pytest.raises(ForeignCheckpoint, match=r"`model\.safetensors` was aaaaaaaa, is now bbbbbbbb"):
        now.check(before, tmp_path)


def test_a_record_that_was_edited_names_the_setting(setup):
    train(setup.config(max_steps=2))
    log = RunAudit.read(setup.folder / "run/audit.jsonl")
    state = read_state(setup.folder / "run/checkpoints/step-0000002")
    with pytest.raises(ForeignCheckpoint, match=r"`seed` was 0, is now 9"):
        log.check_checkpoint(state, state.resume_key | {"seed": 9})
    with pytest.raises(ForeignCheckpoint, match=r"`plan_id` was 00000000, is now [0-9a-f]{8} in the log"):
        log.check_checkpoint(state._replace(plan=state.plan | {"plan_id": "sha256:" + "0" * 64}), state.resume_key)
