"""Whole preference runs equal TRL's: losses, held-out losses, norms and weights, for any micro-batch, threads and processes.

`golden/make_trl_runs.py` made the numbers; `golden/tiny.py` is what both sides train.
"""

import importlib.util
import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lazarus_models
import lazarus_models.composition
import lazarus_models.tensor_files
import lazarus_models.trees
import ring
from lazarus_models.backend import mx
from lazarus_plan import load_plan
from lazarus_tokenkit import FieldNames, load_tokenizer
from lazarus_train import OptimizerSettings, train
from suite import every_nth

GOLDEN = Path(__file__).parent / "golden"
TRL = json.loads((GOLDEN / "trl_runs.json").read_text())
_spec = importlib.util.spec_from_file_location("tiny", GOLDEN / "tiny.py")
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

OBJECTIVES = {
    "dpo": {},
    "cdpo": {"label_smoothing": 0.1},
    "dpo_length_normalized": {"is_length_normalized": True},
    "ipo": {"loss": "ipo"},
    "hinge": {"loss": "hinge"},
    "simpo": {"loss": "simpo"},
    "orpo": {"loss": "orpo", "likelihood": "prompt-and-answer"},
    "kto": {"loss": "kto"},
    "kto_weighted": {"loss": "kto"},
    "kto_pair": {"loss": "kto_pair"},
}


@pytest.fixture(scope="module")
def tiny_setup(tmp_path_factory, make_setup):
    """The model and the pairs of `tiny.py`, with the plan of its steps."""
    setup = make_setup(tmp_path_factory.mktemp("tiny"))
    tokenizer = load_tokenizer("byte")
    shape = lazarus_models.composition.preset("nano", vocab_size=tiny.VOCAB).model_copy(
        update={
            "num_hidden_layers": tiny.LAYERS,
            "hidden_size": tiny.WIDTH,
            "intermediate_size": tiny.INSIDE,
            "num_attention_heads": tiny.HEADS,
            "num_key_value_heads": 1,
            "head_dim": tiny.HEAD_DIM,
        }
    )
    lm = lazarus_models.init_model(shape, tokenizer, seed=0)
    lazarus_models.trees.set_weights(lm.model, {name: mx.array(each) for name, each in tiny.weights().items()})
    for file in setup.model.iterdir():
        file.unlink()
    lazarus_models.save(lm, setup.model)
    setup.write_rows(tiny.HELD_OUT)
    setup.data.rename(setup.folder / "held-out.jsonl")
    setup.write_rows(tiny.TRAINED)
    setup.build_plan(template="plain", **tiny.PLAN)
    return setup


def config_of(setup, output, name, **settings):
    optimizer = {"learning_rate": tiny.LEARNING_RATE, "schedule": "constant", "weight_decay": 0.0}
    optimizer |= {"beta1": tiny.BETA1, "beta2": tiny.BETA2, "epsilon": tiny.EPSILON, "max_grad_norm": tiny.MAX_NORM}
    return setup.config(
        output,
        objective={"kind": "preference", **OBJECTIVES.get(name, {"loss": "kto"}), **TRL[name]["settings"]},
        optimizer=OptimizerSettings(**optimizer),
        eval_data={"held-out": setup.folder / "held-out.jsonl"},
        template="plain",
        **settings,
    )


def check_run(folder: Path, name: str) -> None:
    """Every figure of a run is TRL's."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    golden = TRL[name]
    assert [line["loss"] for line in lines if "loss" in line] == pytest.approx(golden["losses"], rel=1e-5)
    assert [line["grad_norm"] for line in lines if "loss" in line] == pytest.approx(golden["norms"], rel=1e-4)
    assert [line["eval_loss"] for line in lines if "eval_loss" in line] == pytest.approx(golden["held_out"], rel=1e-5)
    final = lazarus_models.tensor_files.load_tensors(folder / "final" / "model.safetensors")
    start = tiny.weights()
    moved = {each: float(np.abs(np.array(final[each]) - start[each]).sum()) for each in start}
    assert moved == pytest.approx(golden["moved"], rel=1e-3)
    embedding = np.array(final["model.embed_tokens.weight"])[48:51]
    assert np.allclose(embedding, golden["embedding"], atol=1e-5)


def test_the_steps_are_those_that_trl_was_given(tiny_setup):
    plan = load_plan(tiny_setup.plan)
    steps = [
        [segment.sample for row in plan.step(index).rows for segment in row.segments] for index in range(len(plan))
    ]
    assert steps == tiny.STEPS
    assert min(map(len, steps)) > 1
    assert max(len(plan.step(index).rows) for index in range(len(plan))) > 2


@pytest.mark.parametrize("micro_rows", [None, 1])
def test_kto_of_labelled_answers_is_trls(tiny_setup, micro_rows):
    folder = tiny_setup.folder / f"labelled-{micro_rows}"
    folder.mkdir()
    setup = replace(tiny_setup, folder=folder)
    setup.write_rows(tiny.labelled(tiny.HELD_OUT))
    setup.data.rename(folder / "held-out.jsonl")
    shutil.copytree(tiny_setup.model, setup.model)
    setup.write_rows(tiny.labelled(tiny.TRAINED))
    setup.build_plan(template="plain", fields=FieldNames(label="label"), **tiny.PLAN)
    plan = load_plan(setup.plan)
    assert [list(plan.step(index).samples) for index in range(len(plan))] == tiny.LABELLED_STEPS
    config = config_of(setup, "run", "kto_labelled", micro_rows=micro_rows, label_field="label")
    train(config)
    check_run(config.output, "kto_labelled")


@pytest.mark.parametrize(("name", "micro_rows"), every_nth(itertools.product(OBJECTIVES, [None, 1, 2]), 4))
def test_a_run_is_trls_for_any_micro_batch(tiny_setup, name, micro_rows):
    output = f"{name}-{micro_rows}"
    train(config_of(tiny_setup, output, name, micro_rows=micro_rows))
    check_run(tiny_setup.folder / output, name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "processes"), every_nth(itertools.product(OBJECTIVES, [2, 3]), 7))
def test_a_run_is_trls_for_any_number_of_processes(tiny_setup, name, processes):
    config = config_of(tiny_setup, f"{name}-by-{processes}", name, micro_rows=1 if processes == 2 else None)
    stored = tiny_setup.folder / f"{name}-{processes}.json"
    stored.write_text(config.model_dump_json())
    code = (
        "import sys, pathlib; from lazarus_train import TrainConfig, train; "
        "train(TrainConfig.model_validate_json(pathlib.Path(sys.argv[1]).read_bytes()))"
    )
    words = [sys.executable, "-c", code, stored]
    done = ring.finish(ring.start(words, processes, tiny_setup.folder / f"hosts-{name}-{processes}.json"))
    assert (config.output / "final" / "model.safetensors").is_file(), done.stderr
    check_run(config.output, name)
