"""A task of another package: an entry point of the group `lazarus.eval_tasks`, named by its kind."""

import json
import sys

import pytest
from typer.testing import CliRunner

from lazarus_core.errors import LazarusError
from lazarus_models.cli.app import app
from lazarus_models.evaluation import evaluate, load_task, task_kinds, task_settings
from toy_packages import lay_out

TOY = '''
from typing import Literal

from lazarus_models.evaluation import Item, Metric, Task, TaskResult, TaskSettings


class LengthSettings(TaskSettings, frozen=True):
    kind: Literal["length"] = "length"
    least: int = 3
    """Characters of a long line."""


def run(subject, settings):
    lines = settings.data.read_text().splitlines()
    items = [Item(str(place), {"long": (float(len(line) >= settings.least), 1.0)}) for place, line in enumerate(lines)]
    return TaskResult([Metric("long", "proportion", "higher", 0.5, "random")], items, "lines")


TASK = Task(LengthSettings, run, "Long lines.")
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package on the import path, as an installer leaves it."""

    def put(kind="length", value="toy_task:TASK", source=TOY, package="toy-task"):
        points = {"package": package, "module": "toy_task", "group": "lazarus.eval_tasks", "points": {kind: value}}
        monkeypatch.syspath_prepend(str(lay_out(tmp_path / package, source, **points)))

    yield put
    sys.modules.pop("toy_task", None)


def test_a_task_of_a_package_is_evaluated_and_listed(install, tiny, tmp_path):
    install()
    path = tmp_path / "lines.txt"
    path.write_text("a\nabc\nabcd\n")
    report = evaluate(tiny, [task_settings({"kind": "length", "data": path}, "x")])
    assert report.score("length:lines", "long").value == pytest.approx(2 / 3)
    assert task_kinds()[-1] == "length"
    listed = json.loads(CliRunner().invoke(app, ["eval", "tasks", "--json"]).stdout)
    assert listed["length"]["settings"]["least"] == {"default": 3, "help": "Characters of a long line."}
    with pytest.raises(LazarusError, match="x: least: must be a whole number"):
        task_settings({"kind": "length", "data": path, "least": "many"}, "x")


@pytest.mark.parametrize("value", ["toy_task:LengthSettings", "toy_task:nix", "nix:TASK"])
def test_a_package_that_cannot_be_used_is_named(install, value):
    install(value=value)
    with pytest.raises(LazarusError, match=r"toy-task 1\.0") as caught:
        load_task("length")
    assert caught.value.code == "LM-E506"


def test_a_kind_of_this_package_is_not_replaced(install):
    install(kind="choice")
    assert load_task("choice").summary.startswith("Multiple choice") and task_kinds().count("choice") == 1
