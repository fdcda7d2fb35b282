"""What is hashed is what is loaded: files that are exchanged or edited between a check and their use."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lazarus_train import LoraConfig, Watcher, train
from lazarus_train.engine import trainer
from lazarus_train.engine.state import TrainState
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint
from lazarus_train.run_dir.base_digest import Base, model_digest
from lazarus_train.run_dir.checkpoint import read_state

PREFERENCE = {"kind": "preference"}


def poison(path, *, in_place=False):
    """Other numbers in a file of tensors, as another file or in the bytes of this one."""
    tensors, beside = load_file(path), path.with_name("beside")
    save_file({name: np.asarray(tensor * 1.5, dtype=tensor.dtype) for name, tensor in tensors.items()}, beside)
    if in_place:
        path.write_bytes(beside.read_bytes())
        beside.unlink()
    else:
        beside.replace(path)


def once_rows_are_read(act):
    """Acts when the gate has begun to read rows: the tokenizer is open, the model is not."""
    done = []

    def on_rows(_):
        if not done:
            done.append(act())

    return Watcher(on_rows=on_rows)


def after_the_check(monkeypatch, act):
    """Acts between the check of the checkpoint and its use."""
    check = trainer.check_checkpoint

    def checked(*arguments):
        state = check(*arguments)
        act()
        return state

    monkeypatch.setattr(trainer, "check_checkpoint", checked)


@pytest.mark.parametrize("in_place", [False, True])
def test_the_digest_of_the_first_model_is_that_of_the_weights_that_were_loaded(setup, in_place):
    weights = setup.model / "model.safetensors"
    before = model_digest(setup.model)
    train(setup.config(max_steps=1), watcher=once_rows_are_read(lambda: poison(weights, in_place=in_place)))
    state = read_state(setup.folder / "run/checkpoints/step-0000001")
    assert state.base.digest == model_digest(setup.model) != before
    start = json.loads((setup.folder / "run/audit.jsonl").read_text().splitlines()[0])["start"]
    assert start["model"] == state.base.digest


def test_the_tokenizer_of_final_is_the_one_that_encoded_the_rows(setup):
    file = setup.model / "tokenizer.json"
    content = file.read_bytes()
    said = json.loads(content)
    vocab = said["model"]["vocab"]
    first, second = list(vocab)[100:102]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    changed = json.dumps(said).encode()
    train(setup.config(max_steps=1), watcher=once_rows_are_read(lambda: file.write_bytes(changed)))
    assert (setup.folder / "run/final/tokenizer.json").read_bytes() == content
    assert Base.on_disk(setup.model) != read_state(setup.folder / "run/checkpoints/step-0000001").base


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "ema.safetensors"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_checkpoint_that_changes_after_its_check_is_refused(setup, monkeypatch, name, in_place):
    train(setup.config(max_steps=2, ema=0.9))
    file = setup.folder / "run/checkpoints/step-0000002" / name
    after_the_check(monkeypatch, lambda: poison(file, in_place=in_place))
    with pytest.raises(CorruptCheckpoint, match=f"{name} was changed"):
        train(setup.config(max_steps=4, ema=0.9))


def test_adapters_that_change_after_their_check_are_refused(setup, monkeypatch):
    lora = LoraConfig(rank=2)
    train(setup.config(max_steps=2, lora=lora))
    file = setup.folder / "run/checkpoints/step-0000002/adapters.safetensors"
    after_the_check(monkeypatch, lambda: poison(file))
    with pytest.raises(CorruptCheckpoint, match=r"adapters\.safetensors was changed"):
        train(setup.config(max_steps=4, lora=lora))


def test_another_model_under_the_adapters_is_refused_also_after_the_check(setup, monkeypatch):
    lora = LoraConfig(rank=2)
    train(setup.config(max_steps=2, lora=lora))
    after_the_check(monkeypatch, lambda: poison(setup.model / "model.safetensors"))
    with pytest.raises(ForeignCheckpoint, match=r"`model\.safetensors` was [0-9a-f]{8}, is now"):
        train(setup.config(max_steps=4, lora=lora))


@pytest.mark.parametrize("kind", ["cached", "copy"])
def test_a_reference_is_the_model_that_the_run_began_with(setup, monkeypatch, kind):
    rows = [{"prompt": f"What is {n}?", "chosen": f"{n} is it.", "rejected": f"{n} no."} for n in range(12)]
    setup.write_rows(rows)
    setup.build_plan()
    load = TrainState.fresh

    def fresh(*arguments):
        learner = load(*arguments)
        poison(setup.model / "model.safetensors")
        return learner

    monkeypatch.setattr(TrainState, "fresh", fresh)
    with pytest.raises(ForeignCheckpoint, match=r"`model\.safetensors` was [0-9a-f]{8}, is now"):
        train(setup.config(max_steps=2, objective={**PREFERENCE, "reference": kind}))


def test_a_reference_that_was_edited_is_refused(setup):
    from lazarus_train import verify_run

    rows = [{"prompt": f"What is {n}?", "chosen": f"{n} is it.", "rejected": f"{n} no."} for n in range(12)]
    setup.write_rows(rows)
    setup.build_plan()
    train(setup.config(max_steps=2, objective=PREFERENCE))
    assert "reference" in {link.name for link in verify_run(setup.folder / "run")}
    poison(setup.folder / "run/reference/train/reference.safetensors")
    with pytest.raises(CorruptCheckpoint, match=r"reference\.safetensors was changed"):
        list(verify_run(setup.folder / "run"))
