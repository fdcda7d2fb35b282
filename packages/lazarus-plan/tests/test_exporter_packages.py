"""An exporter of another package: an entry point named by its target."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lazarus_core.errors import LazarusError
from lazarus_plan import PlanError
from lazarus_plan.cli.app import app
from lazarus_plan.exports import export, targets
from toy_packages import lay_out

TOY = '''
def python_file(target):
    return f"""\\"Steps for {target}.\\"

import json

def steps(plan):
    with open(f"{{plan}}/plan.jsonl") as lines:
        return [json.loads(line)["step"] for line in lines]
"""
'''
Put = Callable[..., None]


def install(
    folder: Path, source: str = TOY, *, package: str = "toy-exporter", name: str = "toy", module: str = "toy_exporter"
) -> Path:
    """A package in a folder, as an installer leaves it: a module, and metadata with the entry point."""
    points = {name: f"{module}:python_file"}
    return lay_out(folder, source, package=package, module=module, group="lazarus.exporters", points=points)


@pytest.fixture
def put(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Puts a package on the import path; it is forgotten after the test."""

    def put(source: str = TOY, **names: str) -> None:
        monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), source, **names))

    yield put
    for module in ("toy_exporter", "second_exporter"):
        sys.modules.pop(module, None)


def test_the_command_writes_its_file_and_replaces_it_until_somebody_edits_it(put: Put, tmp_path: Path):
    put()
    path = tmp_path / "planned.py"
    command = ["export", "--to", "toy", "-o", str(path)]
    for _ in range(2):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    assert path.read_text() == export("toy")
    (tmp_path / "plan.jsonl").write_text('{"step":0}\n{"step":1}\n')
    names: dict[str, Callable[[Path], list[int]]] = {}
    exec(path.read_text(), names)
    assert names["steps"](tmp_path) == [0, 1]
    path.write_text(path.read_text() + "# mine\n")
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, LazarusError)
    assert refused.exception.code == "LP-E010"
    assert path.read_text().endswith("# mine\n")


def test_its_name_is_listed_and_an_unknown_one_is_answered_with_the_list(put: Put, tmp_path: Path):
    put("raise RuntimeError('imported')\n")
    assert targets() == ["torch", "trl", "grain", "mlx", "toy"]
    done = CliRunner().invoke(app, ["export", "--to", "tou", "-o", str(tmp_path / "planned.py")])
    assert isinstance(done.exception, PlanError)
    assert done.exception.message == (
        "there is no exporter 'tou' (did you mean 'toy'?); there are torch, trl, grain, mlx, toy. Give one of them, or install the "
        "package that provides it"
    )
    assert (done.exception.code, done.exception.exit_code) == ("LP-E208", 2)
    assert not list(tmp_path.iterdir())
    assert "toy_exporter" not in sys.modules


@pytest.mark.parametrize(
    ("source", "message", "code"),
    [
        ("import a_module_that_is_not_there\n", "cannot be loaded (ModuleNotFoundError: No module", "LP-E206"),
        ("python_file = 'text'\n", "cannot be used: `toy_exporter:python_file` must be a function", "LP-E206"),
        (
            "def python_file(target):\n    return 1\n",
            "failed (TypeError: it returned int instead of the text",
            "LP-E207",
        ),
        ("def python_file(target):\n    return ' '\n", "failed (ValueError: it returned an empty file)", "LP-E207"),
        ("def python_file(target):\n    return 'a b'\n", "failed (SyntaxError: ", "LP-E207"),
        ("def python_file(target):\n    return {}[target]\n", "failed (KeyError: 'toy')", "LP-E207"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(put: Put, tmp_path: Path, source: str, message: str, code: str):
    put(source)
    done = CliRunner().invoke(app, ["export", "--to", "toy", "-o", str(tmp_path / "planned.py")])
    assert isinstance(done.exception, PlanError)
    assert f"the exporter 'toy' of the package toy-exporter 1.0 {message}" in done.exception.message
    assert (done.exception.code, done.exception.exit_code) == (code, 2)
    assert "\n" not in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_two_packages_of_one_name_are_refused(put: Put):
    put()
    put(package="second", module="second_exporter")
    with pytest.raises(PlanError, match=r"provided by second 1\.0, toy-exporter 1\.0: uninstall") as found:
        export("toy")
    assert found.value.code == "LP-E206"


def test_a_package_cannot_replace_an_exporter_of_this_package(put: Put):
    own = export("torch")
    put(name="torch")
    assert export("torch") == own
    assert targets() == ["torch", "trl", "grain", "mlx"]
    assert "toy_exporter" not in sys.modules
