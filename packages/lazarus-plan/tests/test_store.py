from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from lazarus_core.errors import LazarusError
from lazarus_plan import BatchPlan, load_plan, save_plan
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


def test_a_plan_is_replaced_and_nothing_stays_beside_it(folder: Path, plan: BatchPlan):
    (folder / "plan.rows").unlink()
    save_plan(plan, folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "plan.rows").is_file()


@pytest.mark.parametrize("name", ["notes.txt", "metadata.json", "plan.jsonl", "plan.idx"])
def test_a_folder_that_is_no_plan_is_left_alone(plan: BatchPlan, tmp_path: Path, name: str):
    (tmp_path / name).write_text('{"plan_format_version":1,"config":{}}\n', "utf-8")
    with pytest.raises(LazarusError, match="is not a plan") as caught:
        save_plan(plan, tmp_path)
    assert (caught.value.code, caught.value.exit_code) == ("LP-E007", 2)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_not_replaced_by_a_plan(plan: BatchPlan, lengths_file: Path):
    before = lengths_file.read_bytes()
    with pytest.raises(LazarusError, match="is not a plan"):
        save_plan(plan, lengths_file)
    assert lengths_file.read_bytes() == before


@pytest.mark.parametrize("name", ["lengths.jsonl", "checkpoints/"])
def test_other_files_in_the_folder_of_a_plan_are_kept(folder: Path, plan: BatchPlan, name: str):
    stray = folder / name
    stray.mkdir() if name.endswith("/") else stray.touch()
    before = sorted(folder.iterdir())
    with pytest.raises(LazarusError, match=f"holds {stray.name} beside a plan"):
        save_plan(plan, folder)
    assert sorted(folder.iterdir()) == before


def test_a_link_to_a_plan_stays_a_link(folder: Path, plan: BatchPlan, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    save_plan(plan, link)
    assert link.is_symlink() and load_plan(link).plan_id == plan.plan_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "plan"]


def test_a_plan_that_cannot_be_replaced_stays(folder: Path, plan: BatchPlan, monkeypatch: pytest.MonkeyPatch):
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise PermissionError(1, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError) as caught:
        save_plan(plan, folder)
    assert caught.value.filename == str(folder)
    assert load_plan(folder).plan_id == plan.plan_id and [each.name for each in folder.parent.iterdir()] == ["plan"]


@pytest.mark.parametrize("name", ["none", "."])
def test_what_is_no_plan_is_not_read(tmp_path: Path, name: str):
    with pytest.raises(LazarusError) as caught:
        load_plan(tmp_path / name)
    assert (caught.value.code, caught.value.exit_code) == ("LP-E007", 2)
