"""An objective is one file: a built-in one needs one line in the registry, an outside one an entry point of its package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import lazarus_train
import lazarus_train.objectives
from commands import run
from lazarus_core.errors import LazarusError
from lazarus_train import CausalSettings, ObjectiveSettings, train, verify_run
from lazarus_train.cli.app import app
from lazarus_train.errors import Interrupted, SetupError
from lazarus_train.objective_registry import BUILT_IN, settings_type
from toy_packages import lay_out

TOY = '''
from typing import Literal

from lazarus_train import Objective, ObjectiveSettings
from lazarus_train.objectives import causal_sum


class ToySettings(ObjectiveSettings):
    """A part of the next-token loss."""

    kind: Literal["toy"] = "toy"
    share: float = 0.5
    """Factor of the loss."""


class ToyObjective(Objective[ToySettings]):
    """The next-token loss times a factor."""

    settings_type = ToySettings
    metrics = ("whole_loss",)

    def loss(self, model, batch):
        whole = causal_sum(model, batch)
        return self.settings.share * whole, {"whole_loss": whole}
'''


def forget(monkeypatch, module="toy_objective"):
    """Imports the module anew in this test."""
    monkeypatch.delitem(sys.modules, module, raising=False)


def install(folder: Path, source=TOY, *, package="toy-objective", kind="toy", module="toy_objective") -> Path:
    """A package in a folder, as an installer leaves it: a module, and metadata with the entry point."""
    points = {kind: f"{module}:ToyObjective"}
    return lay_out(folder, source, package=package, module=module, group="lazarus.objectives", points=points)


@pytest.fixture
def toy(tmp_path_factory, monkeypatch):
    """The toy package on the import path."""
    forget(monkeypatch)
    monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site")))
    yield
    forget(monkeypatch)


def steps(setup, run):
    lines = map(json.loads, (setup.folder / run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "loss" in line]


def test_an_outside_objective_trains_and_minimises_its_own_loss(setup, toy):
    train(setup.config("toy", objective={"kind": "toy", "share": 0.25}, max_steps=2))
    train(setup.config("causal", max_steps=2))
    ours, causal = steps(setup, "toy")[0], steps(setup, "causal")[0]
    assert ours["loss"] == pytest.approx(0.25 * causal["loss"], rel=1e-6)
    assert ours["whole_loss"] == pytest.approx(causal["loss"], rel=1e-6)
    assert ours["grad_norm"] == pytest.approx(0.25 * causal["grad_norm"], rel=1e-5)
    asked = json.loads((setup.folder / "toy/config.json").read_text())["config"]["objective"]
    assert asked == {"kind": "toy", "share": 0.25}


def test_the_objective_of_the_readme_trains_by_its_cap(setup, tmp_path_factory, monkeypatch):
    page = (Path(__file__).parents[1] / "README.md").read_text()
    source = page.partition("## Write an objective")[2].partition("```python\n")[2].partition("```")[0]
    forget(monkeypatch)
    points = {"capped": "toy_objective:CappedObjective"}
    names = {"package": "capped", "module": "toy_objective", "group": "lazarus.objectives", "points": points}
    monkeypatch.syspath_prepend(lay_out(tmp_path_factory.mktemp("site"), source, **names))
    train(setup.config("low", objective={"kind": "capped", "cap": 2.0}, max_steps=1))
    train(setup.config("high", objective={"kind": "capped", "cap": 1e9}, max_steps=1))
    train(setup.config("causal", max_steps=1))
    assert steps(setup, "low")[0]["loss"] == pytest.approx(2.0, rel=1e-6)
    assert steps(setup, "high")[0]["loss"] == pytest.approx(steps(setup, "causal")[0]["loss"], rel=1e-6)
    forget(monkeypatch)


def test_it_is_resumed_to_the_bit_and_verified(setup, toy, stop_after):
    settings = {"objective": {"kind": "toy"}, "eval_data": {"held-out": setup.data}, "eval_every": 2}
    train(setup.config("straight", **settings))
    with pytest.raises(Interrupted):
        train(setup.config("stopped", **settings), watcher=stop_after(2))
    train(setup.config("stopped", **settings))
    assert setup.fingerprints("stopped") == setup.fingerprints("straight")
    assert all(link.holds for link in verify_run(setup.folder / "stopped"))
    assert "eval_whole_loss" in (setup.folder / "stopped/metrics.jsonl").read_text()


def test_settings_of_another_size_are_another_run(setup, toy):
    train(setup.config(objective={"kind": "toy"}, max_steps=1))
    with pytest.raises(lazarus_train.errors.ForeignCheckpoint, match=r"`objective\.share` was"):
        train(setup.config(objective={"kind": "toy", "share": 0.75}, max_steps=2))


def test_wrong_settings_of_it_are_refused_by_their_place(setup, toy):
    with pytest.raises(ValidationError) as found:
        setup.config(objective={"kind": "toy", "shares": 0.5})
    assert found.value.errors()[0]["loc"] == ("objective", "toy", "shares")


def test_a_built_in_objective_is_a_file_and_a_line(setup, tmp_path, monkeypatch):
    (tmp_path / "toy_objective.py").write_text(TOY)
    forget(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BUILT_IN, "toy", "toy_objective:ToyObjective")
    train(setup.config(objective={"kind": "toy"}, max_steps=2))
    assert all(link.holds for link in verify_run(setup.folder / "run"))
    forget(monkeypatch)


def test_no_other_module_knows_an_objective():
    """Outside the registry and the objectives, nobody asks for a kind or imports an objective; the sweep measures one."""
    source = Path(lazarus_train.__file__).parent
    settings = "|".join(settings_type(kind).__name__ for kind in BUILT_IN)
    asks = re.compile(
        rf"objective\.kind (==|!=|in|not in) |isinstance\([^)]*objective|\b({settings})\b|objectives\.({'|'.join(BUILT_IN)}) import"
    )
    found = {
        (path.relative_to(source).as_posix(), line.strip())
        for path in source.rglob("*.py")
        if "objectives" not in path.parts
        for line in path.read_text().splitlines()
        if asks.search(line)
    }
    assert found == {("tune/measure.py", "from lazarus_train.objectives.causal import CausalObjective")}
    assert not re.search(r"\bid\(", "".join(path.read_text() for path in source.rglob("*.py")))


def test_a_broken_package_is_one_line_that_names_it_and_hinders_nobody_else(setup, tmp_path_factory, monkeypatch):
    forget(monkeypatch)
    monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), "import a_module_that_is_not_there\n"))
    train(setup.config(max_steps=1))
    assert "toy_objective" not in sys.modules
    with pytest.raises(
        SetupError, match=r"'toy' of the package toy-objective 1\.0 cannot be loaded .*ModuleNotFound"
    ) as found:
        setup.config(objective={"kind": "toy"})
    assert (found.value.code, found.value.exit_code) == ("LR-E172", 2)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (TOY.replace("ToyObjective", "OtherObjective"), "cannot be loaded"),
        (TOY.replace("(Objective[ToySettings])", ""), "must be a subclass of lazarus_train.Objective, and `kind`"),
        (TOY.replace('"toy"', '"other"'), "must be a subclass of lazarus_train.Objective, and `kind`"),
        ("class ToyObjective:\n    settings_type = dict\n", "must be a subclass of lazarus_train.Objective"),
    ],
)
def test_a_package_that_gives_something_else_is_refused(setup, tmp_path_factory, monkeypatch, source, message):
    forget(monkeypatch)
    monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), source))
    with pytest.raises(SetupError, match=message) as found:
        setup.config(objective={"kind": "toy"})
    assert found.value.code == "LR-E172"
    forget(monkeypatch)


def test_two_packages_of_one_kind_are_refused(setup, toy, tmp_path_factory, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), package="second", module="second_objective"))
    with pytest.raises(SetupError, match=r"provided by second 1\.0, toy-objective 1\.0: uninstall") as found:
        setup.config(objective={"kind": "toy"})
    assert found.value.code == "LR-E172"


def test_a_package_cannot_take_the_place_of_a_built_in_objective(setup, tmp_path_factory, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), kind="causal"))
    assert type(setup.config(objective={"kind": "causal"}).objective) is CausalSettings


def test_an_unknown_kind_names_the_known_ones(setup):
    with pytest.raises(SetupError, match=r"no objective of kind 'causla' \(did you mean 'causal'\?\)") as found:
        setup.config(objective={"kind": "causla"})
    assert (found.value.code, found.value.exit_code) == ("LR-E171", 2)
    with pytest.raises(ValidationError, match="needs a `kind`"):
        setup.config(objective={})


def test_settings_that_no_package_registers_are_refused(setup):
    class Mine(ObjectiveSettings):
        kind: str = "causal"

    with pytest.raises(ValidationError, match="not of the class that is registered"):
        setup.config(objective=Mine())


def test_a_run_whose_package_is_gone_says_so(setup, tmp_path_factory):
    with pytest.MonkeyPatch.context() as there:
        forget(there)
        there.syspath_prepend(install(tmp_path_factory.mktemp("site")))
        train(setup.config(objective={"kind": "toy"}, max_steps=1))
        forget(there)
    with pytest.raises(SetupError, match=r"no objective of kind 'toy'.*install the package that provides it"):
        list(verify_run(setup.folder / "run"))


@pytest.mark.slow
def test_the_command_trains_and_verifies_it(setup, tmp_path_factory):
    site = install(tmp_path_factory.mktemp("site"))
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lazarus_train.__main__ import main; main()"
    given = ["--model", "model", "--data", "data.jsonl", "--batch-plan", "plan", "-o", "run", "--max-steps", "1"]
    for arguments in (
        ["objective", "toy", "--set", "objective.share=0.25", *given],
        ["objective", "toy", "--config", "run/config.json", "-o", "again"],
        ["verify", "run"],
    ):
        run([sys.executable, "-c", start, site, *arguments], cwd=setup.folder, check=True)
    assert json.loads((setup.folder / "run/config.json").read_text())["config"]["objective"]["share"] == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["toy", "--set", "objective.shares=1"], "no setting `objective.shares`; did you mean `objective.share`?"),
        (["toy", "--set", "objective.share=much"], '`objective.share` is "much": give a number'),
        (["toy", "--set", "objective.kind=causal"], "`objective.kind` is"),
        (["tou"], "there is no objective of kind 'tou' (did you mean 'toy'?)"),
    ],
)
def test_the_command_refuses_wrong_settings_in_one_line(setup, toy, options, message):
    given = ["--model", str(setup.model), "--data", str(setup.data), "--batch-plan", str(setup.plan), "-o", "run"]
    done = CliRunner().invoke(app, ["objective", *options, *given])
    assert isinstance(done.exception, LazarusError), done.output
    assert done.exception.exit_code == 2
    assert message in done.exception.message


def test_a_run_file_gives_the_settings_of_it(setup, toy):
    lines = [
        *(f'{name} = "{value}"' for name, value in (("model", setup.model), ("data", setup.data))),
        *(f'{name} = "{value}"' for name, value in (("batch_plan", setup.plan), ("output", setup.folder / "run"))),
        'max_steps = 1\n[objective]\nkind = "toy"\nshare = 0.75\n',
    ]
    (setup.folder / "run.toml").write_text("\n".join(lines))
    command = ["objective", "toy", "--config", str(setup.folder / "run.toml")]
    shown = CliRunner().invoke(app, [*command, "--print-config"])
    assert "share = 0.75" in shown.output
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads((setup.folder / "run/config.json").read_text())["config"]["objective"]["share"] == 0.75


def test_settings_are_read_without_an_array_library():
    """`--help` and a wrong option answer at once."""
    code = (
        "import sys; from lazarus_core.settings.schema import schema_of; from lazarus_train.run_settings import RunSettings;"
        "schema_of(RunSettings); print(*{'mlx', 'numpy', 'tokenizers', 'jaxtyping'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
