"""No verifier evaluates text: answers of models are data."""

import ast
from pathlib import Path

import pytest

import lazarus_gym

FILES = sorted(Path(lazarus_gym.__file__).parent.rglob("*.py"))
FORBIDDEN = {"eval", "exec", "compile", "parse_expr", "sympify", "literal_eval", "__import__"}


def evaluations(source: str) -> list[str]:
    """Names of forbidden functions that the source calls or mentions; `re.compile` has a constant pattern and is allowed."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in FORBIDDEN:
            found.append(node.id)
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            is_pattern = isinstance(node.value, ast.Name) and node.value.id == "re" and node.attr == "compile"
            found += [] if is_pattern else [node.attr]
        if isinstance(node, ast.ImportFrom | ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN | {"sympy", "pickle"}]
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_package_evaluates_no_text(path: Path):
    assert evaluations(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "f = exec",
        "builtins.eval('1')",
        "from sympy import sympify",
        "compile('1', '', 'eval')",
        "import pickle",
    ],
)
def test_the_check_sees_evaluations(source: str):
    assert evaluations(source)
    assert not evaluations("import re\nre.compile('a')")
