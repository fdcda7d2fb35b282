"""Types of stages from packages of somebody else."""

import pytest

from lazarus_cli.recipes import RecipeFolder, load_recipe, run_recipe
from lazarus_core.errors import LazarusError
from toy_packages import lay_out

SOURCE = """
from typing import Annotated, Literal
from lazarus_cli.recipes import Reads, Stage, StageSettings


class ShoutSettings(StageSettings, frozen=True):
    type: Literal["shout"] = "shout"
    data: Annotated[str, Reads("rows")]
    marks: int = 1


class ShoutStage(Stage[ShoutSettings]):
    kind = "rows"
    packages = ("toy-stages",)

    @classmethod
    def settings_type(cls):
        return ShoutSettings

    def run(self, settings, inputs, folder, context):
        text = inputs["data"][0].path.read_text()
        (folder / "rows.txt").write_text(text.upper() + "!" * settings.marks)

    def paths(self, folder, part=""):
        return (folder / "rows.txt",)


BROKEN = 3
"""
RECIPE = 'data.text = "text.txt"\n[first]\ntype = "shout"\ndata = "text"\n[shout]\ndata = "first"\nmarks = 2\n'


@pytest.fixture
def toys(tmp_path, monkeypatch):
    points = {"shout": "toy_stages:ShoutStage", "broken": "toy_stages:BROKEN", "absent": "toy_stages:Nothing"}
    given = {"package": "toy-stages", "module": "toy_stages", "group": "lazarus.stages", "points": points}
    monkeypatch.syspath_prepend(str(lay_out(tmp_path / "site", SOURCE, **given)))
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_a_stage_of_another_package_runs_and_its_version_counts(toys):
    folder = RecipeFolder(toys / "out")
    recipe = load_recipe(toys / "recipe.toml")
    assert [each.done for each in run_recipe(recipe, folder)] == ["run", "run"]
    assert (folder.stage("shout") / "rows.txt").read_text() == "HELLO!!!"
    assert [each.done for each in run_recipe(recipe, folder)] == ["unchanged", "unchanged"]
    metadata = next((toys / "site").glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    outcomes = run_recipe(recipe, folder)
    assert [each.done for each in outcomes] == ["run", "run"]
    assert outcomes[0].why == '`versions.toy-stages` was "1.0", is now "1.1"'


@pytest.mark.parametrize(("name", "words"), [("broken", "must be a subclass of"), ("absent", "cannot be loaded")])
def test_a_type_that_cannot_be_used_names_its_package(toys, name, words):
    (toys / "recipe.toml").write_text(RECIPE.replace('"shout"', f'"{name}"'))
    with pytest.raises(
        LazarusError, match=rf"the stage type '{name}' of the package toy-stages 1\.0.*{words}"
    ) as refused:
        load_recipe(toys / "recipe.toml")
    assert refused.value.code == "LC-E201"
