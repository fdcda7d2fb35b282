"""What loggers are told, read back from their own files."""

import math
import struct

import pytest

from lazarus_train import StepReport, Watcher, train
from lazarus_train.callbacks.loggers import telling
from lazarus_train.errors import SetupError


def scalars(folder) -> dict[tuple[int, str], float]:
    """Step and name -> value, of TensorBoard's event files: records of length, checksum, message, checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="needs the extra tensorboard")
    found = {}
    for file in sorted(folder.glob("events*")):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = event_pb2.Event.FromString(content[at + 12 : at + 12 + size])
            found |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
            at += 12 + size + 4
    return found


def test_tensorboard_is_told_every_step_and_held_out_loss(setup):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    config = setup.config(max_steps=4, eval_data={"held-out": setup.data}, eval_every=2)
    losses = {}
    watcher = Watcher(on_step=lambda report: losses.update({report.step: report.loss}))
    with telling(watcher, ["tensorboard"], config) as teller:
        train(config, watcher=teller)
    found = scalars(setup.folder / "run/tensorboard")
    assert {step: value for (step, name), value in found.items() if name == "train/loss"} == pytest.approx(losses)
    assert sorted(step for step, name in found if name == "held_out/held-out/loss") == [0, 2, 4]
    assert {name for step, name in found if step == 1} == {
        f"train/{name}" for name in ("loss", "learning_rate", "grad_norm", "tokens_per_s")
    }


def test_figures_that_are_no_numbers_are_kept_from_a_logger(setup):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    report = StepReport(1, math.inf, {"reward_margin": math.nan}, 1e-3, 2.0, tokens=8, seconds=0.5, epochs=0.1)
    with telling(Watcher(), ["tensorboard"], setup.config()) as teller:
        teller.on_step(report)
    assert scalars(setup.folder / "run/tensorboard") == {
        (1, "train/learning_rate"): pytest.approx(1e-3),
        (1, "train/grad_norm"): 2.0,
        (1, "train/tokens_per_s"): 16.0,
    }


def test_a_run_that_is_refused_leaves_nothing(setup):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    config = setup.config(max_steps=4).model_copy(update={"data": setup.folder / "none.jsonl"})
    with pytest.raises(Exception, match=r"none\.jsonl"), telling(Watcher(), ["tensorboard"], config) as teller:
        train(config, watcher=teller)
    assert not (setup.folder / "run").exists()


def test_an_extra_that_is_missing_is_named(setup, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with (
        pytest.raises(SetupError, match=r"`log_to=wandb` needs wandb: install lazarus-train\[wandb\]"),
        telling(Watcher(), ["wandb"], setup.config()),
    ):
        pass
