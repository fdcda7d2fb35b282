"""The package as a whole: its names, its examples, its README, its weight."""

import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

import lazarus_plan
from lazarus_plan import BatchPlan
from lazarus_plan.report.attestation import attest

README = Path(__file__).parents[1] / "README.md"


def parameters(name: str) -> list[inspect.Parameter]:
    """Of a public function, or of making a public class."""
    return list(inspect.signature(getattr(lazarus_plan, name)).parameters.values())


MODULES = [name for _, name, _ in walk_packages(lazarus_plan.__path__, "lazarus_plan.") if "__main__" not in name]


@pytest.mark.parametrize("name", lazarus_plan.__all__)
def test_every_public_name_resolves(name: str):
    assert getattr(lazarus_plan, name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_hold(module: str):
    assert doctest.testmod(import_module(module)).failed == 0


@pytest.mark.parametrize("example", [each for each in find_examples(README) if each.prefix == "python"], ids=str)
def test_the_readme_runs(
    example: CodeExample, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    eval_example.run_print_check(example)


def test_help_loads_neither_numpy_nor_pydantic():
    check = (
        "import sys, lazarus_plan.cli.app as cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'pydantic', 'rich', 'hypothesis'} & sys.modules.keys(), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


PATHS = {
    name: parameter.name
    for name in lazarus_plan.__all__
    if inspect.isfunction(getattr(lazarus_plan, name))
    for parameter in parameters(name)
    if "Path" in str(parameter.annotation)
}


@pytest.mark.parametrize("name", PATHS)
def test_every_path_may_be_a_text(name: str):
    (parameter,) = (each for each in parameters(name) if each.name == PATHS[name])
    assert "Path | str" in str(parameter.annotation)


def test_paths_given_as_texts_are_read_and_written(plan: BatchPlan, folder: Path, lengths_file: Path, tmp_path: Path):
    other, text = str(tmp_path / "other"), str(folder)
    cache = lazarus_plan.read_lengths(str(lengths_file))
    lazarus_plan.save_plan(plan, other)
    lazarus_plan.build_plan(cache, plan.metadata.config, other)
    lazarus_plan.materialise(text, [cache], other)
    assert list(lazarus_plan.verify_plan(other, caches=[cache]))
    assert lazarus_plan.prove(text, 0)["step"] == 0 and attest(text)
    with lazarus_plan.PlanReader(text) as reader:
        assert len(reader) == len(plan)
    log = str(tmp_path / "log")
    head = lazarus_plan.AuditLog.start(log, plan.plan_id).head.hex()
    assert lazarus_plan.AuditLog.resume(log, plan.plan_id, 0, head).next_step == 0
    assert lazarus_plan.check_audit(log, plan).steps == 0
    with lazarus_plan.LengthsWriter(str(tmp_path / "l")) as writer:
        writer.finish(lazarus_plan.LengthsHeader(0))
