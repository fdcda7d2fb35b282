"""Laws of recipes, on stages that take no time: what runs, what is skipped, what the lock says, what a kill leaves."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_cli.recipes import Reads, RecipeFolder, Stage, StageSettings, check_lock, run_recipe
from lazarus_cli.recipes.errors import Drifted, RecipeError
from lazarus_cli.recipes.lock import read_lock
from lazarus_cli.recipes.recipe import Recipe, RecipeSettings, StageNode
from lazarus_cli.recipes.runner import plan_recipe
from lazarus_cli.recipes.session import Session
from lazarus_cli.recipes.stage import references


class ToySettings(StageSettings):
    type: Literal["toy"] = "toy"
    salt: int = 0
    is_constant: bool = False
    reads: Annotated[tuple[str, ...], Reads("rows")] = ()


class ToyStage(Stage[ToySettings]):
    """Writes the digest of all it reads and of its salt; a constant one writes its salt alone."""

    kind = "rows"
    packages = ("lazarus-core",)

    @classmethod
    def settings_type(cls) -> type[ToySettings]:
        return ToySettings

    def run(self, settings: ToySettings, inputs: Any, folder: Path, context: Any) -> None:
        (folder / "out.txt").write_text(
            made(settings, [path.read_text() for each in inputs.get("reads", ()) for path in each.paths])
        )

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        return (folder / "out.txt",)


class ResumableToy(ToyStage):
    is_resumable = True

    def run(self, settings: ToySettings, inputs: Any, folder: Path, context: Any) -> None:
        folder.mkdir(exist_ok=True)
        with (folder / "log.txt").open("a") as stream:
            stream.write("begun\n")
        if settings.salt == 13 and (folder / "log.txt").read_text().count("begun") < 3:
            raise KeyboardInterrupt
        super().run(settings, inputs, folder, context)

    def files(self, folder: Path) -> Sequence[Path]:
        return [folder / "out.txt"]


def made(settings: ToySettings, read: list[str]) -> str:
    texts = [str(settings.salt), *([] if settings.is_constant else read)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def recipe(stages: list[ToySettings], data: dict[str, Any], stage: Stage[Any] | None = None) -> Recipe:
    """Stage `sN` reads stages before it and data."""
    settings = RecipeSettings(data=data)
    kind = stage or ToyStage()
    nodes = tuple(StageNode(f"s{number}", kind, each, tuple(references(each))) for number, each in enumerate(stages))
    return Recipe("toy", settings, {}, nodes, {})


@st.composite
def graphs(draw: st.DrawFn) -> list[ToySettings]:
    found: list[ToySettings] = []
    for number in range(draw(st.integers(1, 6))):
        names = [*(f"s{each}" for each in range(number)), "d0", "d1"]
        reads = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
        found.append(
            ToySettings(salt=draw(st.integers(0, 2)), is_constant=draw(st.integers(0, 3)) == 0, reads=tuple(reads))
        )
    return found


def contents(stages: list[ToySettings], data: dict[str, str]) -> dict[str, str]:
    """What every stage makes, by an independent computation."""
    found = dict(data)
    for number, each in enumerate(stages):
        found[f"s{number}"] = made(each, [found[name] for name in each.reads])
    return found


def decisive(stages: list[ToySettings], data: dict[str, str]) -> list[Any]:
    """What decides the output of every stage: settings, and contents of what it reads."""
    found = contents(stages, data)
    return [(each.salt, each.is_constant, [found[name] for name in each.reads]) for each in stages]


def ran(outcomes: list[Any]) -> list[str]:
    return [each.name for each in outcomes if each.done == "run"]


@given(graphs(), graphs(), st.integers(0, 5), st.sampled_from(["salt", "data", "nothing", "rewire"]))
def test_exactly_what_changed_runs_again(tmp_path_factory, stages, other, place, change):
    folder = tmp_path_factory.mktemp("law")
    data = {"d0": "a", "d1": "b"}
    paths = {name: folder / f"{name}.txt" for name in data}
    for name, text in data.items():
        paths[name].write_text(text)
    target = RecipeFolder(folder / "out")
    assert ran(run_recipe(recipe(stages, paths), target)) == [f"s{number}" for number in range(len(stages))]
    lock = target.lock.read_bytes()
    before = decisive(stages, data)
    place %= len(stages)
    now = list(stages)
    if change == "salt":
        now[place] = stages[place].model_copy(update={"salt": stages[place].salt + 5})
    elif change == "rewire":
        reads = tuple(name for name in other[-1].reads if name.startswith("d") or int(name[1:]) < place)
        now[place] = stages[place].model_copy(update={"reads": reads})
    elif change == "data":
        data["d1"] = "another text"
        paths["d1"].write_text(data["d1"])
    after = decisive(now, data)
    wanted = [f"s{number}" for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    planned = [each.name for each in plan_recipe(recipe(now, paths), target) if each.done == "would run"]
    assert set(wanted) <= set(planned)  # a stage whose input is made again may turn out unchanged
    if wanted:
        with pytest.raises(Drifted, match=f"stage `{wanted[0]}`"):
            check_lock(Session(recipe(now, paths), target), read_lock(target))
        with pytest.raises(Drifted, match=f"stage `{wanted[0]}`"):
            run_recipe(recipe(now, paths), target, locked=True)
        assert target.lock.read_bytes() == lock
    assert ran(run_recipe(recipe(now, paths), target)) == wanted
    assert check_lock(Session(recipe(now, paths), target), read_lock(target)).absent == ()
    assert (target.lock.read_bytes() == lock) is (before == after)
    found = contents(now, data)
    for number in range(len(now)):
        assert (target.stage(f"s{number}") / "out.txt").read_text() == found[f"s{number}"]
    assert ran(run_recipe(recipe(now, paths), target)) == []


@given(graphs(), st.permutations(["1", "2", "3"]), st.booleans())
def test_names_places_and_order_of_files_do_not_change_the_lock(tmp_path_factory, stages, order, as_folder):
    locks: list[bytes] = []
    for number, (texts, folded) in enumerate([(["1", "2", "3"], False), (order, as_folder)]):
        folder = tmp_path_factory.mktemp("law")
        (folder / "data").mkdir()
        files = [folder / "data" / f"{'ab'[number]}{at}.txt" for at in range(3)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        single = folder / f"single{number}.txt"
        single.write_text("b")
        data = {"d0": folder / "data" if folded else tuple(files), "d1": single}
        run_recipe(recipe(stages, data), RecipeFolder(folder / f"out{number}"))
        locks.append((folder / f"out{number}" / "lazarus.lock").read_bytes())
        assert str(folder).encode() not in locks[-1]
    assert locks[0] == locks[1]


def chain(tmp_path: Path, count: int = 3) -> tuple[Recipe, RecipeFolder]:
    (tmp_path / "d0.txt").write_text("a")
    stages = [ToySettings(salt=number, reads=(f"s{number - 1}",) if number else ("d0",)) for number in range(count)]
    return recipe(stages, {"d0": tmp_path / "d0.txt"}), RecipeFolder(tmp_path / "out")


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
def test_a_changed_output_is_named_until_it_is_put_back_or_forced(tmp_path, damage):
    toys, folder = chain(tmp_path)
    run_recipe(toys, folder)
    file = folder.stage("s1") / "out.txt"
    before = file.read_bytes()
    if damage == "changed":
        file.write_text("x" * len(before))
    elif damage == "missing":
        file.unlink()
    else:
        (folder.stage("s1") / "more.txt").write_text("")
    words = f"stage `s1`: .*{'more.txt was added' if damage == 'added' else f'out.txt .*{damage}'}"
    for _ in range(2):
        with pytest.raises(RecipeError, match=words) as refused:
            run_recipe(toys, folder)
        assert refused.value.code == "LC-E212"
    with pytest.raises(Drifted, match="stage `s1`"):
        check_lock(Session(toys, folder), read_lock(folder))
    assert ran(run_recipe(toys, folder, force=["s1"])) == ["s1"]
    assert file.read_bytes() == before
    assert not (folder.stage("s1") / "more.txt").exists()


def test_the_same_size_and_time_do_not_hide_a_change(tmp_path):
    toys, folder = chain(tmp_path)
    run_recipe(toys, folder)
    for name in ("s1", "s2"):
        file = folder.stage(name) / "out.txt"
        times = file.stat()
        file.write_text("x" * times.st_size)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(RecipeError, match=r"out\.txt was changed"):
        run_recipe(toys, folder)


def test_limits_choose_the_stages(tmp_path):
    toys, folder = chain(tmp_path, 4)
    with pytest.raises(RecipeError, match="stage `s0` comes before the first one asked for and has not been run"):
        run_recipe(toys, folder, begin="s1")
    assert ran(run_recipe(toys, folder, until="s1")) == ["s0", "s1"]
    assert sorted(read_lock(folder)["stages"]) == ["s0", "s1"]
    with pytest.raises(Drifted, match="stage `s2`: the lock does not have it"):
        check_lock(Session(toys, folder), read_lock(folder))
    assert ran(run_recipe(toys, folder, begin="s1", until="s2")) == ["s2"]
    assert ran(run_recipe(toys, folder, begin="s2", force=["s2"])) == ["s2", "s3"]
    for given_limits in ({"until": "s9"}, {"begin": "nix"}, {"force": ["s"]}, {"until": "s1", "force": ["s2"]}):
        with pytest.raises(RecipeError) as refused:
            run_recipe(toys, folder, **given_limits)
        assert refused.value.code == "LC-E214"


def test_a_lock_alone_makes_the_same_outputs_elsewhere(tmp_path):
    toys, folder = chain(tmp_path)
    run_recipe(toys, folder)
    other = RecipeFolder(tmp_path / "elsewhere")
    other.path.mkdir()
    shutil.copy(folder.lock, other.lock)
    assert check_lock(Session(toys, other), read_lock(other)).absent == ("s0", "s1", "s2")
    assert ran(run_recipe(toys, other, locked=True)) == ["s0", "s1", "s2"]
    assert other.lock.read_bytes() == folder.lock.read_bytes()


def test_an_output_that_differs_from_the_lock_is_refused(tmp_path):
    """As on another machine, whose numbers differ."""

    class OtherNumbers(ToyStage):
        def run(self, settings: ToySettings, inputs: Any, folder: Path, context: Any) -> None:
            (folder / "out.txt").write_text("other")

    toys, folder = chain(tmp_path)
    run_recipe(toys, folder)
    other = RecipeFolder(tmp_path / "elsewhere")
    other.path.mkdir()
    shutil.copy(folder.lock, other.lock)
    changed = replace(toys, stages=(toys.stages[0], replace(toys.stages[1], type=OtherNumbers()), *toys.stages[2:]))
    with pytest.raises(Drifted, match="stage `s1` made something else") as refused:
        run_recipe(changed, other, locked=True)
    assert refused.value.code == "LC-E222"
    assert other.lock.read_bytes() == folder.lock.read_bytes()
    assert other.record("s1") is None and other.record("s0") is not None


def test_an_interrupted_stage_resumes_in_its_folder_and_another_one_starts_anew(tmp_path):
    (tmp_path / "d0.txt").write_text("a")
    folder = RecipeFolder(tmp_path / "out")

    def resumable(salt: int) -> Recipe:
        return recipe([ToySettings(salt=salt, reads=("d0",))], {"d0": tmp_path / "d0.txt"}, ResumableToy())

    log = folder.stage("s0") / "log.txt"
    for count in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run_recipe(resumable(13), folder)
        assert log.read_text().count("begun") == count
    assert ran(run_recipe(resumable(13), folder)) == ["s0"]
    assert log.read_text().count("begun") == 3
    assert ran(run_recipe(resumable(14), folder)) == ["s0"]
    assert log.read_text().count("begun") == 1
    assert ran(run_recipe(resumable(14), folder, force=["s0"])) == ["s0"]
    assert log.read_text().count("begun") == 1


def test_folders_of_others_and_folders_in_use_are_refused(tmp_path):
    toys, folder = chain(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    for path in (tmp_path / "mine", tmp_path / "d0.txt"):
        with pytest.raises(RecipeError, match="give"):
            run_recipe(toys, RecipeFolder(path))
    with folder.held(), pytest.raises(RecipeError, match="another process runs a recipe"):
        run_recipe(toys, folder)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_damaged_records_and_locks_are_refused_and_a_damaged_cache_is_not_used(tmp_path):
    toys, folder = chain(tmp_path)
    run_recipe(toys, folder)
    folder.digests.write_text('{"files": {"x"')
    assert ran(run_recipe(toys, folder)) == []
    good = folder.lock.read_bytes()
    for bad in (b"{}", b'{"lazarus_lock": 1, "stages": {"s0": 3}}', b'{"lazarus_lock": 2}', b"[]", b"\xff"):
        folder.lock.write_bytes(bad)
        with pytest.raises((RecipeError, Exception), match=r"lazarus\.lock") as refused:
            read_lock(folder)
        assert refused.value.exit_code == 2
    folder.lock.write_bytes(good)
    record = folder.path / ".lazarus" / "s1.json"
    content = json.loads(record.read_bytes())
    record.write_text(json.dumps({**content, "record_version": 99}))
    with pytest.raises(RecipeError, match="later version"):
        run_recipe(toys, folder)
    record.write_text("{}")
    with pytest.raises(RecipeError, match="remove the file"):
        run_recipe(toys, folder)
    record.unlink()
    assert ran(run_recipe(toys, folder)) == ["s1"]
