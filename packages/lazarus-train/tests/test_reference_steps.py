"""The cached reference has the pairs of the run's steps, and grows when the run does."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from lazarus_plan import load_plan
from lazarus_train import Watcher, train

OBJECTIVE = {"kind": "preference"}


def table(setup, run):
    return load_file(setup.folder / run / "reference/train/reference.safetensors")


def samples(setup, steps):
    plan = load_plan(setup.plan)
    return sorted({segment.sample for index in steps for row in plan.step(index).rows for segment in row.segments})


def counted(setup, run, **settings):
    """Trains and returns the totals of the reference's bar, in order."""
    totals = []
    watcher = Watcher(on_reference=lambda done, total: totals.append((done, total)))
    train(setup.config(run, objective=OBJECTIVE, **settings), watcher=watcher)
    return totals


@pytest.mark.slow
def test_only_the_pairs_of_the_steps_are_computed_and_more_steps_complete_them(setup):
    rows = [{"prompt": f"What is {n}?", "chosen": f"{n} is it.", "rejected": f"{n} no."} for n in range(24)]
    setup.write_rows(rows)
    setup.build_plan()
    few, more = samples(setup, range(2)), samples(setup, range(4))
    assert 0 < len(few) < len(more) < len(rows)
    assert counted(setup, "run", max_steps=2)[-1] == (len(few), len(few))
    short = table(setup, "run")
    assert np.flatnonzero(short["chosen"]).tolist() == few
    assert counted(setup, "run", max_steps=4)[0][0] > len(few)  # those of the first steps are not computed again
    whole = counted(setup, "whole")
    assert whole[-1] == (len(rows), len(rows))
    grown = table(setup, "run")
    assert np.flatnonzero(grown["rejected"]).tolist() == more
    for side in ("chosen", "rejected"):
        assert np.array_equal(grown[side][more], table(setup, "whole")[side][more])
        assert np.array_equal(grown[side][few], short[side][few])
    assert json.loads((setup.folder / "run/reference/train/source.json").read_bytes())["steps"] == 4
    assert "steps" not in json.loads((setup.folder / "whole/reference/train/source.json").read_bytes())
    assert setup.steps("run") == setup.steps("whole")[:4]
