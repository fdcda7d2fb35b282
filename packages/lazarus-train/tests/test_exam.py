"""What a run is examined with: several held-out sets, each by its name, and the first of them decides."""

import json

import pytest

from lazarus_train import EarlyStopSettings, OptimizerSettings, Watcher, train
from lazarus_train.errors import Interrupted, SetupError


@pytest.fixture
def sets(setup):
    """Rows much like those that are trained on, and the rows that are trained on."""
    path = setup.folder / "other.jsonl"
    rows = [{"prompt": f"What is {a} and 9?", "completion": f"It makes {a + 9}, friend."} for a in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"other": path, "own": setup.data}


def measured(setup, run):
    lines = (setup.folder / run / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "eval_set" in line]


def test_every_set_is_measured_by_its_name_as_it_is_alone(setup, sets):
    train(setup.config("both", max_steps=4, eval_every=2, eval_data=sets))
    train(setup.config("own", max_steps=4, eval_every=2, eval_data={"own": setup.data}))
    both = measured(setup, "both")
    assert [(line["step"], line["eval_set"]) for line in both] == [
        (step, name) for step in (0, 2, 4) for name in ("other", "own")
    ]
    assert [line for line in both if line["eval_set"] == "own"] == measured(setup, "own")
    assert both[0]["eval_tokens"] != both[1]["eval_tokens"]


def test_a_file_that_is_not_there_is_named_before_anything_is_read(setup, sets):
    rows: list[int] = []
    with pytest.raises(SetupError, match=r"`eval_data` gone: .*nothing\.jsonl does not exist"):
        train(
            setup.config(eval_data={**sets, "gone": setup.folder / "nothing.jsonl"}),
            watcher=Watcher(on_rows=rows.append),
        )
    assert rows == []


def test_the_first_set_decides_what_is_best_and_when_to_stop(setup, sets):
    setup.build_plan(epochs=40)
    optimizer = OptimizerSettings(learning_rate=2e-2, schedule="constant")
    settings = {"eval_every": 5, "save_every": 5, "early_stop": EarlyStopSettings(patience=2), "optimizer": optimizer}
    stopped = train(setup.config("other", eval_data=sets, **settings)).steps
    swapped = {name: sets[name] for name in reversed(sets)}
    assert train(setup.config("own", eval_data=swapped, max_steps=stopped + 5, **settings)).steps > stopped
    for run, decides in (("other", "other"), ("own", "own")):
        losses = {line["step"]: line["eval_loss"] for line in measured(setup, run) if line["eval_set"] == decides}
        del losses[0]  # before any checkpoint
        best = (setup.folder / run / "checkpoints" / "best").resolve().name
        assert best == f"step-{min(losses, key=losses.__getitem__):07d}"


def test_a_stop_between_two_sets_leaves_the_second_to_be_measured(setup, sets):
    settings = {"max_steps": 4, "eval_every": 2, "save_every": None, "eval_data": sets}
    train(setup.config("straight", **settings))
    for at in (0, 2, 4):
        asked: list[int] = []

        def on_held_out(step, name, result, at=at, asked=asked):
            if (step, name) == (at, "other"):
                asked.append(1)

        watcher = Watcher(on_held_out=on_held_out, should_stop=lambda asked=asked: bool(asked))
        with pytest.raises(Interrupted):
            train(setup.config(f"stopped-{at}", **settings), watcher=watcher)
        assert [line["eval_set"] for line in measured(setup, f"stopped-{at}")][-1] == "other"
        train(setup.config(f"stopped-{at}", **settings))
        assert setup.fingerprints(f"stopped-{at}") == setup.fingerprints("straight")


def test_held_out_ids_beyond_the_embedding_are_refused_before_the_first_step(setup):
    file = setup.model / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    first, how = len(tokenizer["model"]["vocab"]), ("single_word", "lstrip", "rstrip", "normalized", "special")
    words = [{"id": first + place, "content": f"q{place}q", **dict.fromkeys(how, False)} for place in range(60)]
    tokenizer["added_tokens"] += words  # more than the rows of the embedding
    file.write_text(json.dumps(tokenizer))
    setup.build_plan()
    held_out = setup.folder / "held-out.jsonl"
    held_out.write_text(json.dumps({"prompt": "What is 1?", "completion": "q59q"}) + "\n")
    with pytest.raises(SetupError, match=r"the held-out data 'held-out'.* has token id 3") as refused:
        train(setup.config(eval_data={"held-out": held_out}, eval_every=2))
    assert refused.value.code == "LR-E102"
    assert not (setup.folder / "run/metrics.jsonl").exists()
