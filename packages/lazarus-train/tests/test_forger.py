"""With plan_id and audit head pinned no edit of a finished run passes, however consistent; `tools/attacks/forge_runs.py`."""

import importlib.util
import itertools
import random
import shutil
from pathlib import Path

import pytest

from lazarus_train import LoraConfig, train
from lazarus_train.verify import Pins
from suite import every_nth, repeats

SCRIPT = Path(__file__).parents[3] / "tools/attacks/forge_runs.py"


EDITS = ("bytes", "value", "line", "weights", "files", "folders")
LEVELS = ("nothing", "manifests", "manifests and states", "everything")


@pytest.fixture(scope="module")
def forger():
    spec = importlib.util.spec_from_file_location("forge_runs", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["full", "lora"])
def run(setup, request):
    lora = LoraConfig(rank=2, alpha=4.0) if request.param == "lora" else None
    train(setup.config(max_steps=4, lora=lora, eval_data={"held-out": setup.data}, eval_every=2, ema=0.9))
    return setup.folder / "run"


@pytest.mark.slow
@pytest.mark.thorough
def test_no_edit_of_a_finished_run_passes_with_pins(run, forger):
    edits = repeats(150, 30)
    assert forger.attack(run, edits, seed=3) == (edits, [])


def test_the_forger_is_good_enough_to_pass_where_nothing_is_pinned(setup, forger):
    """Else the test above would show nothing of the pins."""
    train(setup.config(max_steps=4))
    run = setup.folder / "run"
    pins, before = forger.pins_of(run), forger.fingerprint(run)
    last = run / "checkpoints/step-0000004/model.safetensors"
    content = bytearray(last.read_bytes())
    content[-2] ^= 1
    for file in (last, run / "final/model.safetensors"):
        file.write_bytes(content)
    forger.make_again(run, "everything")
    assert forger.fingerprint(run) != before
    assert forger.accepts(run, Pins()) and forger.accepts(run, Pins(plan=pins.plan))
    assert not forger.accepts(run, pins)


@pytest.mark.parametrize(("edit", "level"), every_nth(itertools.product(EDITS, LEVELS), 3))
def test_every_kind_of_edit_is_tried_and_found(setup, forger, edit, level):
    train(setup.config(max_steps=2, save_every=1))
    run = setup.folder / "run"
    pins, before = forger.pins_of(run), forger.fingerprint(run)
    for seed in range(3):
        copy = setup.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy, symlinks=True)
        forger.EDITS[edit](copy, random.Random(seed))
        forger.make_again(copy, level)
        assert forger.fingerprint(copy) == before or not forger.accepts(copy, pins)
