"""What a project outside finds at the root of this repository: the action, the hooks, the pages for developers."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PLAN = ROOT / "packages/lazarus-plan"
ACTION = ROOT / ".github/actions/lazarus-plan"
FAKE_PYTHON = """#!/bin/sh
# `python3 -m venv FOLDER` makes FOLDER/bin/python, which prints its arguments
mkdir -p "$3/bin"
printf '#!/bin/sh\\nprintf "%%s\\\\n" "$@"\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
"""


def with_siblings(member: Path) -> set[Path]:
    """A member and the members that it needs, directly or not."""
    lines = tomllib.loads((member / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = [found[0] for line in lines if (found := re.match(r"lazarus-\w+", line))]
    return {member}.union(*(with_siblings(ROOT / "packages" / name) for name in names))


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        (ROOT / ".pre-commit-hooks.yaml", PLAN / ".pre-commit-hooks.yaml"),
        (ACTION / "action.yml", PLAN / "action.yml"),
    ],
    ids=["hooks", "action"],
)
def test_the_root_has_what_the_package_has(copy: Path, original: Path):
    assert copy.read_bytes() == original.read_bytes(), f"cp {original} {copy}"


@pytest.mark.parametrize("folder", [PLAN, ACTION], ids=["package", "root"])
@pytest.mark.parametrize("package", ["", "lazarus-plan==1.2"])
def test_the_action_installs_its_own_revision_or_what_is_named(folder: Path, package: str, tmp_path: Path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").write_text(FAKE_PYTHON, "utf-8")
    (tools / "python3").chmod(0o755)
    step = yaml.safe_load((folder / "action.yml").read_text("utf-8"))["runs"]["steps"][0]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env={
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ACTION_PATH": str(folder),
            "PACKAGE": package,
        },
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    installed = [word for word in done.stdout.splitlines() if not word.startswith("-")][2:]
    if package:
        assert installed == [package]
    else:
        assert {Path(word).resolve() for word in installed} == with_siblings(PLAN)


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
    found = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    return found or pytest.skip("not a git checkout")


def test_every_link_of_a_page_leads_to_a_file():
    pages = tracked("*.md")
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if "://" not in target
    ]
    assert len(links) > 40
    assert not [f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()]


def test_the_index_of_tools_names_every_script():
    index = (ROOT / "tools/README.md").read_text("utf-8")
    scripts = tracked("tools/*", "packages/*/tests/golden/make_*.py")
    assert len(scripts) > 15
    assert not [path.name for path in scripts if path.name != "README.md" and f"[`{path.name}`]" not in index]


def test_the_pages_for_developers_name_paths_that_exist():
    page = (ROOT / ".github/CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`((?:packages|apps|tests|tools|\.ci)/[\w./-]+)`", page))
    assert len(named) >= 8
    assert not [name for name in named if not (ROOT / name).exists()]
