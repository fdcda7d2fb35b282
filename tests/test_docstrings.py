"""Public functions of two or more parameters document each of them in an `Args:` section."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[1] / "packages"
DOCUMENTED = sorted(path.name for path in PACKAGES.iterdir() if (path / "pyproject.toml").exists())
"""Packages whose functions are checked."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
_SECTION = re.compile(r"^Args:\n(?P<entries>(?:(?: {4}.*)?\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}\*{0,2}(?P<name>\w+): +\S", re.MULTILINE)


def functions_of(body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, Function]]:
    """Public functions and methods of public classes; those in `if` and `try` at the top of a body too."""
    for node in body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield within + node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions_of(node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from functions_of(node.body, within)
            yield from functions_of(getattr(node, "orelse", []), within)


def parameters_of(function: Function) -> list[str]:
    """Names of the parameters, without `self` and `cls`."""
    given = function.args
    variadic = [each for each in (given.vararg, given.kwarg) if each is not None]
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *variadic]
    return [each.arg for each in named if each.arg not in ("self", "cls")]


def documented_in(docstring: str) -> list[str]:
    """Names of the entries of the `Args:` section, in order."""
    section = _SECTION.search(f"{docstring}\n")
    return [] if section is None else _ENTRY.findall(section["entries"])


def is_declared_elsewhere(function: Function) -> bool:
    """Whether another definition has the docstring: overloads, overriding methods and setters."""
    names = {ast.unparse(each).rpartition(".")[2] for each in function.decorator_list}
    return bool(names & {"overload", "override", "setter"})


def problems_of(source: str) -> list[str]:
    """Functions of a module whose `Args:` and parameters differ, each with the names that differ."""
    found: list[str] = []
    for name, function in functions_of(ast.parse(source).body):
        expected = parameters_of(function)
        if len(expected) < 2 or is_declared_elsewhere(function):
            continue
        documented = documented_in(ast.get_docstring(function) or "")
        differing = sorted({*expected} ^ {*documented})
        if differing or len(documented) > len(expected):
            found.append(f"line {function.lineno}: {name}: {', '.join(differing) or 'one entry twice'}")
    return found


@pytest.mark.parametrize("package", DOCUMENTED)
def test_args_name_every_parameter_and_no_other(package: str):
    modules = [
        path for path in sorted((PACKAGES / package / "src").rglob("*.py")) if not {"cli", "cli.py"} & set(path.parts)
    ]
    assert modules, package
    found = [f"{path}, {problem}" for path in modules for problem in problems_of(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("signature", "entries", "differing"),
    [
        ("a, b", ("a", "b"), None),
        ("a", (), None),
        ("self, a", (), None),
        ("a, *b", ("a", "*b"), None),
        ("a, b", (), "a, b"),
        ("a, b", ("a",), "b"),
        ("a, *, b", ("a", "b", "c"), "c"),
        ("a, **b", ("a", "c"), "b, c"),
        ("a, b", ("a", "b", "b"), "one entry twice"),
    ],
)
def test_differences_are_found(signature: str, entries: tuple[str, ...], differing: str | None):
    section = "".join(f"        {each}: Meaning\n            of: it.\n" for each in entries)
    docstring = f"Summary.\n\n    Args:\n{section}\n    Returns:\n        other: No parameter."
    functions = f'def f({signature}):\n    """{docstring}"""\n'
    assert problems_of(functions) == ([] if differing is None else [f"line 1: f: {differing}"])


def test_every_public_function_is_found():
    source = "class A:\n def f(self, a, b): ...\nif True:\n async def g(a, b): ...\ndef _h(a, b): ...\nclass _B:\n def i(self, a, b): ..."
    assert problems_of(source) == ["line 2: A.f: a, b", "line 4: g: a, b"]
