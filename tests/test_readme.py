"""The example of the README runs in a clone without any other file, and prints what the README shows."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
READMES = sorted({ROOT / "README.md", *ROOT.glob("*/*/README.md")})
DIGEST = re.compile(r"\b[0-9a-f]{16,64}\b")
OF_WEIGHTS = re.compile(r"(audit head|first model) .*")
"""Weights may differ in their last bits between machines, and so may the digests that cover them."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_example", ROOT / "tools/readme_example.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digests(text: str) -> set[str]:
    """The digests of a text that are the same on every machine."""
    lines = (OF_WEIGHTS.sub("", line) for line in text.splitlines())
    return {found for line in lines for found in DIGEST.findall(line)}


@pytest.mark.slow
def test_the_example_of_the_readme_runs_in_a_clone(example: ModuleType, tmp_path: Path):
    (tmp_path / "clone").mkdir()
    clone = example.copy_of_clone(tmp_path / "clone")
    blocks = [example.commands(block) for block in example.BLOCK.findall((ROOT / "README.md").read_text("utf-8"))]
    commands = [command for block in blocks for command in block]
    assert [command.line.split()[1] for command in commands if command.line.startswith("lazarus ")] == [
        *("tokenizer", "model", "data", "data", "data", "train", "train", "verify", "infer")
    ]
    shown = "\n".join(line for command in commands for line in command.output)
    printed = [example.run(command, clone) for command in commands]
    assert len(digests(shown)) >= 5
    assert digests(shown) <= digests("\n".join(printed)), "python tools/readme_example.py --write"
    assert printed[-1].splitlines()[0] == commands[-1].output[0] == "gathers no moss."


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_a_readme_needs_the_clone_only(readme: Path):
    text = readme.read_text("utf-8")
    assert "../shared" not in text
    for folder in re.findall(r"(?:\./|subdirectory=)((?:packages|apps)/lazarus-\w+)", text):
        assert (ROOT / folder / "pyproject.toml").is_file(), folder
    from_a_registry = r"(?:uv add|uvx|uv tool install|pip install) +\"?lazarus-\w+(?:\[\w+\])?(?! @)\b"
    assert not re.findall(from_a_registry, text), "no registry has the packages: install from a clone or by git"
