"""What holds for every member and for the repository as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
import yaml

from lazarus_core.cli_app import Deferred

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(path.parent for room in ("apps", "packages") for path in ROOT.glob(f"{room}/*/pyproject.toml"))
TOP_LEVEL = {"packages", "apps", "tests", "tools", "pyproject.toml", "uv.lock", "README.md", "LICENSE"}
MAX_BYTES = 1_000_000

every_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)


def project(member: Path) -> dict[str, Any]:
    return tomllib.loads((member / "pyproject.toml").read_text("utf-8"))["project"]


def module_name(member: Path) -> str:
    return member.name.replace("-", "_")


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_every_yaml_of_the_repository_can_be_loaded(tracked: list[Path]):
    documents = [path for path in tracked if path.suffix in (".yml", ".yaml")]
    assert {path.name for path in documents} >= {"action.yml", ".pre-commit-hooks.yaml"}
    for path in documents:
        assert yaml.safe_load(path.read_text("utf-8")), path


def test_the_members_are_the_nine():
    packages = ["core", "corpus", "gym", "introspect", "models", "plan", "tokenkit", "train"]
    assert [member.relative_to(ROOT).as_posix() for member in MEMBERS] == [
        "apps/lazarus-cli",
        *(f"packages/lazarus-{name}" for name in packages),
    ]


@every_member
def test_a_member_is_complete(member: Path):
    about = project(member)
    assert about["name"] == member.name
    assert (about["license"], about["requires-python"], about["readme"]) == ("MIT", ">=3.11", "README.md")
    assert re.fullmatch(r"\d+\.\d+\.\d+", about["version"])
    assert (member / "README.md").read_text("utf-8").startswith(f"# {member.name}\n\n")
    assert re.match(r"# Changelog\n\n## Unreleased\n\n### \w+\n\n- ", (member / "CHANGELOG.md").read_text("utf-8"))
    assert (member / "src" / module_name(member) / "py.typed").is_file()
    assert list((member / "tests").glob("test_*.py"))


@every_member
def test_siblings_are_bounded_on_both_sides(member: Path):
    siblings = [line for line in project(member)["dependencies"] if line.startswith("lazarus")]
    assert not [line for line in siblings if not re.fullmatch(r"lazarus-\w+(\[\w+\])?>=\d+\.\d+,<\d+\.\d+", line)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "member", [each for each in MEMBERS if each.name != "lazarus-core"], ids=lambda each: each.name
)
def test_the_command_of_a_member_knows_its_version(member: Path):
    command = "lazarus" if member.name == "lazarus-cli" else member.name
    assert list(project(member)["scripts"]) == [command]
    script = Path(sys.executable).with_name(command)
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{member.name} {version(member.name)}" in done.stdout.splitlines()


@every_member
def test_every_public_name_resolves(member: Path):
    module = import_module(module_name(member))
    assert "__version__" in module.__all__ and set(module.__all__) <= set(dir(module))
    assert not [name for name in module.__all__ if getattr(module, name, None) is None]
    assert module.__version__ == version(member.name)


@pytest.mark.parametrize("point", entry_points(group="lazarus.commands"), ids=lambda point: point.name)
def test_every_mounted_command_loads(point: Any):
    target = point.load()
    assert callable(target.function if isinstance(target, Deferred) else target)


def test_the_top_level_holds_what_the_readme_explains(tracked: list[Path]):
    names = {path.relative_to(ROOT).parts[0] for path in tracked}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_no_large_file_is_committed(tracked: list[Path]):
    assert not [path for path in tracked if path.stat().st_size > MAX_BYTES]


def test_no_path_of_a_machine_is_committed(tracked: list[Path]):
    machine = re.compile(r"(?<![\w.:/-])/(home|root|work|Users)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked
        if b"\0" not in (content := path.read_bytes()) and path != Path(__file__)
        for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), 1)
        if machine.search(line)
    ]
    assert not found


def test_torch_is_not_locked():
    locked = {package["name"] for package in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]}
    assert {member.name for member in MEMBERS} < locked
    assert not {name for name in locked if name.startswith(("torch", "nvidia", "triton", "tensorflow", "jaxlib"))}


_WRITERS = {"lazarus_core/atomic.py", "lazarus_core/leftovers.py", "lazarus_plan/exports/audit_log.py"}
"""Modules that rename files. The exported audit log runs in other trainers, without Lazarus."""


_RENAMING = ("os.rename", "os.renames", "os.replace", "os.link", "shutil.move")
_RENAMING_NAMES = {each.rpartition(".")[2] for each in _RENAMING}


def _renames(source: str) -> list[int]:
    """Lines that give a file another name or import what does: `path.replace(x)` has one argument, a text's has two."""
    nodes = list(ast.walk(ast.parse(source)))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    named = [node.lineno for node in imports for name in node.names if f"{node.module}.{name.name}" in _RENAMING]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    methods = [(node, node.func) for node in calls if isinstance(node.func, ast.Attribute)]
    return named + [
        node.lineno
        for node, method in methods
        if method.attr in ("rename", "renames")
        or (method.attr == "replace" and (len(node.args), len(node.keywords)) == (1, 0))
        or (method.attr in _RENAMING_NAMES and ast.unparse(method) in _RENAMING)
    ]


def test_no_module_imports_mlx_before_its_fast_blas(tracked: list[Path]):
    """The first import of `mlx.core` decides on the BLAS of a process; a test module that has it gives all others other bits."""
    backend = ROOT / "packages/lazarus-models/src/lazarus_models/backend.py"
    modules = [path for path in tracked if path.suffix == ".py" and ROOT / "tools" not in path.parents]
    pattern = re.compile(
        r"^(import mlx\b|from mlx\.|from mlx import (?!utils$))", re.MULTILINE
    )  # `utils` is Python alone
    found = [path for path in modules if pattern.search(path.read_text("utf-8"))]
    assert backend in found
    found.remove(backend)
    assert found == []


def test_only_the_atomic_writer_renames_files():
    sources = [path for pattern in ("packages/*/src", "apps/*/src") for path in ROOT.glob(f"{pattern}/**/*.py")]
    found = {"/".join(path.parts[path.parts.index("src") + 1 :]): _renames(path.read_text()) for path in sources}
    assert {name for name, lines in found.items() if lines} == _WRITERS


@pytest.mark.parametrize(
    ("source", "renames"),
    [
        ("a.rename(b)", [1]),
        ("a.replace(b)", [1]),
        ("os.replace(a, b)", [1]),
        ("text.replace('a', 'b')", []),
        ("from os import path, replace as put", [1]),
        ("from shutil import move", [1]),
        ("from os import fsync", []),
        ("replace(a, b=1)", []),
    ],
)
def test_renames_are_found(source: str, renames: list[int]):
    assert _renames(source) == renames
