from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from lazarus_plan import BatchPlan, PlanError, load_plan, save_plan
from lazarus_plan.testing import plans

COLUMNS = ("sample", "start", "end", "step_splits", "span_start")


@given(plans())
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, plan: BatchPlan):
    path = tmp_path_factory.mktemp("plans") / "plan"
    save_plan(plan, path)
    loaded = load_plan(path)
    assert loaded.metadata == plan.metadata and loaded.fingerprints == plan.fingerprints
    for name in COLUMNS:
        assert np.array_equal(getattr(loaded, name), getattr(plan, name)), name


def test_the_index_holds_the_offset_of_every_line(folder: Path):
    content = (folder / "plan.jsonl").read_bytes()
    offsets = np.frombuffer((folder / "plan.idx").read_bytes(), dtype="<u8").tolist()
    lines = [content[begin:end] for begin, end in pairwise(offsets)]
    assert lines == content.splitlines(keepends=True)


def test_a_plan_is_replaced_whole(folder: Path, plan: BatchPlan):
    (folder / "stray").touch()
    save_plan(plan, folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]
    assert not (folder / "stray").exists()


def test_a_folder_that_is_no_plan_is_left_alone(plan: BatchPlan, tmp_path: Path):
    (tmp_path / "precious").touch()
    with pytest.raises(PlanError, match="is not a plan"):
        save_plan(plan, tmp_path)
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("name", ["none", "."])
def test_what_is_no_plan_is_not_read(tmp_path: Path, name: str):
    with pytest.raises(PlanError) as caught:
        load_plan(tmp_path / name)
    assert (caught.value.code, caught.value.exit_code) == ("LP-E007", 2)
