"""The pre-commit hooks and the GitHub Action: their own commands are run, as those services run them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lazarus_plan import BatchPlan
from lazarus_plan.lock import write_lock

PACKAGE = Path(__file__).parents[1]
HOOKS = dict(
    re.findall(
        r"- id: (\S+)\n.*?entry: (.+?\n  args: \[.*?\])", (PACKAGE / ".pre-commit-hooks.yaml").read_text("utf-8"), re.S
    )
)


def run(command: list[str] | str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    arguments = ["bash", "-c", command] if isinstance(command, str) else command
    return subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def repository(folder: Path, lengths_file: Path, tmp_path: Path) -> Path:
    """A folder as someone would commit it: plan, lock and lengths."""
    root = tmp_path / "repository"
    root.mkdir()
    shutil.copytree(folder, root / "batch_plan")
    shutil.copyfile(lengths_file, root / "lengths.jsonl")
    write_lock(folder, root / "batch_plan.lock")
    return root


def change_lengths(repository: Path) -> None:
    path = repository / "lengths.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"id":"s3","length":5', b'"id":"s3","length":6'))


def hook(name: str) -> list[str]:
    entry, arguments = HOOKS[name].split("\n  args: ")
    return [*shlex.split(entry), *arguments.strip("[]").split(", ")]


@pytest.mark.slow
def test_the_hooks_pass_a_sound_repository_and_fail_a_changed_one(repository: Path):
    for name in ("batchplan-validate", "batchplan-lock"):
        assert run(hook(name), repository).returncode == 0
    change_lengths(repository)
    assert run(hook("batchplan-lock"), repository).returncode == 1
    (repository / "batch_plan" / "plan.jsonl").write_bytes(b"")
    assert run(hook("batchplan-validate"), repository).returncode == 1


def action(repository: Path, tmp_path: Path) -> tuple[int, str, str]:
    text = (PACKAGE / "action.yml").read_text("utf-8")
    script = re.search(r"      run: \|\n(.*?)    - name: comment", text, re.S)
    assert script is not None
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    done = run(
        "set -eo pipefail\n" + textwrap.dedent(script[1]),
        repository,
        LOCK="batch_plan.lock",
        LENGTHS="lengths.jsonl\n",
        RUNNER_TEMP=str(tmp_path),
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    return done.returncode, summary.read_text("utf-8"), done.stdout


@pytest.mark.slow
def test_the_action_accepts_a_plan_that_can_be_built_again(repository: Path, plan: BatchPlan, tmp_path: Path):
    code, summary, _ = action(repository, tmp_path)
    assert code == 0 and plan.plan_id in summary
    assert (tmp_path / "output").read_text("utf-8") == f"plan-id={plan.plan_id}\n"


@pytest.mark.slow
def test_the_action_says_what_changed(repository: Path, tmp_path: Path):
    change_lengths(repository)
    code, summary, annotations = action(repository, tmp_path)
    assert code == 1 and "`lengths` changed" in summary and "first link that changed: lengths" in summary
    assert annotations.startswith("::error title=batch plan::error: the rebuilt plan is")
