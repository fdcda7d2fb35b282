"""Other trainers, driven by a plan of real rows, train on what `lazarus train sft` trains on.

`tools/references/other_trainers.py` does the same with PyTorch, transformers, TRL and Grain, which are not installed here. The
losses that it found are in `other_trainers.json`.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import commands
from lazarus_plan import load_plan
from lazarus_plan.exports import Target, export
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer, read_samples
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import read_dataset

ROWS, STEPS, RATE = 120, 8, 0.2
MODES = {
    "packed": ["-b", "1024", "--row-len", "512", "--oversize", "split"],
    "padded": ["-b", "2304", "--row-len", "768"],
}

pytestmark = pytest.mark.slow


def lazarus(*words: object) -> str:
    return commands.run([sys.executable, "-m", "lazarus_cli", *words], check=True).stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, a small model, two plans, encoded rows and a run of each plan."""
    beside = Path(__file__).parents[2] / "shared/data"
    real = Path(os.environ.get("LAZARUS_TEST_DATA", beside))
    if not real.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {beside}")
    folder = tmp_path_factory.mktemp("trainers")
    lines = (real / "datasets/gsm8k/train.jsonl").read_text("utf-8").splitlines()[:ROWS]
    rows = [{"prompt": row["question"], "completion": row["answer"]} for row in map(json.loads, lines)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lazarus("model", "new", "--preset", "nano", "-t", real / "models/stories260k", "-o", folder / "model", "--seed", 1)
    data = ["-t", folder / "model", "-d", folder / "rows.jsonl"]
    lazarus("data", "lengths", "build", *data, "-o", folder / "lengths.jsonl")
    write_encoded(folder)
    for mode, shape in MODES.items():
        kind = ["--mode", mode] if mode == "padded" else []
        lazarus(
            *("data", "batchplan", "build", "-l", folder / "lengths.jsonl", *shape, *kind, "--predictable"),
            *("-o", folder / mode),
        )
        lazarus(
            *(
                "train",
                "sft",
                "--model",
                folder / "model",
                "--data",
                folder / "rows.jsonl",
                "--batch-plan",
                folder / mode,
            ),
            *("-o", folder / f"{mode}-run", "--max-steps", STEPS, "--optimizer", "sgd", "--momentum", 0),
            *("--learning-rate", RATE, "--schedule", "constant", "--weight-decay", 0, "--max-grad-norm", 1e9),
        )
    return folder


def write_encoded(folder: Path) -> None:
    """The rows as `lazarus-tokenkit encode -d` writes them: under the fingerprints of their lengths."""
    header = json.loads((folder / "lengths.jsonl").read_text().partition("\n")[0])
    encoder = Encoder(load_tokenizer(str(folder / "model")))
    lines = [{"lazarus_encoded": 1, **{name: value for name, value in header.items() if name != "lazarus_lengths"}}]
    for sample in read_samples(folder / "rows.jsonl"):
        encoded = encoder.encode(sample)
        lines.append({"id": sample.id, "input_ids": encoded.ids, "mask": encoded.loss_mask})
    (folder / "encoded.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def exported(target: Target, folder: Path) -> ModuleType:
    """An exported file, imported from where a user would have it."""
    path = folder / f"planned_{target}.py"
    path.write_text(export(target))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def step_lines(log: Path) -> list[Any]:
    """Step, leaf and rows of each step line."""
    lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    return [(line["step"], line["leaf"], line["rows"]) for line in lines if "bind" not in line]


def audit(folder: Path, mode: str, log: Path) -> Any:
    return json.loads(
        lazarus(
            *("data", "batchplan", "audit", "-p", folder / mode, "--log", log, "--encoded", folder / "encoded.jsonl"),
            "--json",
        )
    )


@pytest.mark.parametrize("mode", MODES)
def test_exported_batches_and_logs_are_those_of_our_trainer(work: Path, mode: str):
    planned = exported("grain", work)
    plan = load_plan(work / mode)
    dataset = read_dataset(work / "rows.jsonl", Encoder(load_tokenizer(str(work / "model"))), FieldNames())
    steps = planned.PlanSteps(str(work / mode))
    source = planned.PlanSource(steps, planned.EncodedSamples(str(work / "encoded.jsonl"), steps))
    log = work / f"{mode}-grain" / "audit.jsonl"
    writer = planned.AuditLog(str(log), steps)
    for index in range(STEPS):
        ours, theirs = make_batch(plan.step(index).rows, dataset, plan.step(index).row_len), source[index]
        ids = np.array(ours.ids)
        assert np.array_equal(theirs["input_ids"], ids)
        assert np.array_equal(theirs["labels"], np.where(np.array(ours.is_label), ids, -100))
        assert np.array_equal(theirs["segment_ids"], np.array(ours.segment_ids))
        writer.consumed(theirs)
    run = work / f"{mode}-run/audit.jsonl"
    assert step_lines(log) == step_lines(run)
    assert audit(work, mode, log)["data_head"] == audit(work, mode, run)["data_head"]


def losses_of(run: Path) -> list[float]:
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in metrics if "loss" in line]


@pytest.mark.parametrize("mode", MODES)
def test_our_losses_are_those_that_other_trainers_had(work: Path, mode: str):
    found = json.loads((Path(__file__).parent / "other_trainers.json").read_text())
    losses = {entry["trainer"]: entry["losses"] for entry in found if entry["mode"] == mode and "losses" in entry}
    assert losses.keys() >= {
        "pytorch",
        "pytorch, 2 processes",
        "trainer",
        "trl",
        "grain, 0 workers",
        "grain, 2 workers",
    }
    ours = losses_of(work / f"{mode}-run")
    assert len(ours) == STEPS and ours[0] > ours[-1]
    for trainer, theirs in losses.items():
        assert theirs == pytest.approx(ours, abs=1.2e-5), trainer  # they are rounded to 1e-6


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_mlx_lm_trains_as_we_do(work: Path, micro_batches: int):
    import mlx.optimizers as optim
    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm.utils import load_model

    planned = exported("mlx", work)
    steps = planned.PlanSteps(str(work / "padded"), micro_batches=micro_batches)
    data = planned.EncodedSamples(str(work / "encoded.jsonl"), steps)
    model, _ = load_model(work / "model", lazy=False)
    losses: list[float] = []

    class Losses(TrainingCallback):
        def on_train_loss_report(self, train_info: Any) -> None:
            losses.append(train_info["train_loss"])

    folder = work / f"mlx-{micro_batches}"
    folder.mkdir()
    settings = {
        "batch_size": 2,
        "val_batches": 2,
        "steps_per_report": micro_batches,
        "steps_per_eval": 2,  # validation between steps of the plan takes none of them
        "adapter_file": str(folder / "adapter.safetensors"),
        "grad_accumulation_steps": micro_batches,
    }
    args = planned.TrainingArgs(iters=STEPS * micro_batches, **settings)
    planned.train_by_plan(
        *(model, optim.SGD(RATE), steps, data, args, data[:6]),
        audit_path=str(folder / "audit.jsonl"),
        training_callback=Losses(),
    )
    assert losses == pytest.approx(losses_of(work / "padded-run"), abs=1e-5)
    assert step_lines(folder / "audit.jsonl") == step_lines(work / "padded-run/audit.jsonl")
    assert audit(work, "padded", folder / "audit.jsonl")["ok"]


def test_mlx_lm_is_refused_what_would_break_the_plan(work: Path):
    planned = exported("mlx", work)

    def refused(
        code: str, word: str, mode: str = "padded", micro_batches: int = 1, first_step: int = 0, **args: Any
    ) -> None:
        steps = planned.PlanSteps(str(work / mode), micro_batches=micro_batches)
        with pytest.raises(planned.PlanRefused, match=word) as caught:
            planned.train_by_plan(None, None, steps, None, planned.TrainingArgs(**args), first_step=first_step)
        assert caught.value.code == code

    count = len(load_plan(work / "padded"))
    refused("LP-E198", "--mode padded", mode="packed", iters=1)
    refused("LP-E194", "grad_accumulation_steps=2", iters=2, grad_accumulation_steps=2)
    refused("LP-E194", f"iters={count + 1}", iters=count + 1)
    refused("LP-E194", f"iters={count}", iters=count, first_step=1)
    refused("LP-E194", "whole steps", iters=3, grad_accumulation_steps=2, micro_batches=2)
    steps = planned.PlanSteps(str(work / "padded"), 1, 2)
    with pytest.raises(planned.PlanRefused, match="rank 1 of 2"):
        planned.train_by_plan(None, None, steps, None, planned.TrainingArgs(iters=1))
