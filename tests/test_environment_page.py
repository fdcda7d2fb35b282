"""The page of environment variables, exit codes and JSON says what the source does."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from command_pages import is_listed, leaves
from lazarus_core import console
from lazarus_core.errors import LazarusError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "apps/lazarus-cli/docs/environment.md").read_text("utf-8")
SOURCES = sorted([*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("apps/*/src/**/*.py")])
UNREAD = {"exports"}
"""Folders of texts that become files of other programs."""


def rows(heading: str, table: int = 0) -> dict[str, list[str]]:
    """Rows of a table below a heading, by the code in their first cell."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    cells = [re.split(r" (?<!\\)\| ", line.strip("| \n")) for line in tables[table].splitlines()[2:]]
    return {first.partition("`")[2].partition("`")[0] or first: rest for first, *rest in cells}


class Reader(ast.NodeVisitor):
    """Names of variables that a module reads, also through its constants and in comprehensions over them."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: set[str] = set()
        self.unclear: list[int] = []
        self._values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and node in tree.body:
                for target in node.targets:
                    self._values.setdefault(ast.unparse(target), []).append(node.value)
            elif isinstance(node, ast.comprehension):
                self._values.setdefault(ast.unparse(node.target), []).append(node.iter)
        self.visit(tree)

    def _names(self, node: ast.expr) -> set[str]:
        match node:
            case ast.Constant(str(name)):
                return {name}
            case ast.Tuple(each) | ast.List(each):
                return set().union(*map(self._names, each))
            case ast.Name(name):
                return set().union(*map(self._names, self._values.get(name, [])))
            case _:
                return set()

    def _add(self, node: ast.expr) -> None:
        names = self._names(node)
        self.found |= names
        if not names:
            self.unclear.append(node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name in ("os.environ.get", "os.environ.pop", "os.environ.setdefault", "os.getenv"):
            self._add(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "envvar":
                self._add(keyword.value)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if ast.unparse(node.value) == "os.environ":
            self._add(node.slice)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if [ast.unparse(each) for each in node.comparators] == ["os.environ"]:
            self._add(node.left)
        self.generic_visit(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """`{... for name in os.environ.items() if name not in NAMES}`."""
        for each in node.generators:
            if ast.unparse(each.iter) == "os.environ.items()":
                for test in each.ifs:
                    assert isinstance(test, ast.Compare)
                    self._add(test.comparators[0])
        self.generic_visit(node)


def test_every_variable_of_the_source_is_on_the_page_and_no_other():
    found: set[str] = set()
    for path in SOURCES:
        text = path.read_text("utf-8")
        if UNREAD & set(path.parts) or not re.search(r"environ|getenv|envvar", text):
            continue
        reader = Reader(ast.parse(text))
        assert not reader.unclear, f"{path}:{reader.unclear[0]}: the name of a variable is not a constant"
        found |= reader.found
    assert found == rows("Environment variables").keys()


@pytest.mark.parametrize(
    "text",
    [
        'import os\nos.environ.get("A_B")',
        'import os\nos.environ["A_B"]',
        'import os\nos.getenv("A_B")',
        'import os\nNAME = "A_B"\nos.environ.get(NAME)',
        'import os\nNAMES = ("A_B",)\n[os.environ[name] for name in NAMES if name in os.environ]',
        'import os\nNAMES = ("A_B",)\n{name: value for name, value in os.environ.items() if name not in NAMES}',
        'import typer\ntyper.Option("--x", envvar="A_B")',
    ],
)
def test_a_variable_would_be_found(text: str):
    reader = Reader(ast.parse(text))
    assert (reader.found, reader.unclear) == ({"A_B"}, [])


def test_variables_of_libraries_are_in_their_sources():
    for name, (library, _) in rows("Environment variables", 1).items():
        module = import_module(library)
        folder = Path(inspect.getfile(module))
        files = folder.parent.rglob("*.py") if folder.name == "__init__.py" else [folder]
        assert any(
            f'"{name}"' in text or f"'{name}'" in text for text in (path.read_text("utf-8") for path in files)
        ), name


def subclasses(kind: type[LazarusError]) -> Iterator[type[LazarusError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


def test_every_exit_code_is_on_the_page_and_no_other():
    for path in ROOT.glob("packages/*/src/*/errors.py"):
        import_module(f"{path.parent.name}.errors")
    import_module("lazarus_cli.bench")
    import_module("lazarus_cli.quickstart")
    codes = {0, console.INTERRUPTED, console.TERMINATED, console.HUNG_UP, console.READER_LEFT}
    codes |= {each.exit_code for each in subclasses(LazarusError) if each.__module__.startswith("lazarus_")}
    for text in (path.read_text("utf-8") for path in SOURCES):
        for node in ast.walk(ast.parse(text)) if re.search(r"Exit\(|sys\.exit", text) else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Exit", "SystemExit", "sys.exit"):
                codes |= {
                    each.value
                    for each in ast.walk(node)
                    if isinstance(each, ast.Constant) and type(each.value) is int and 0 <= each.value < 128
                }
    assert codes == set(map(int, rows("Exit codes"))), "128 is the summand of signals"


def test_the_commands_without_json_are_those_of_the_page():
    without = {
        path
        for path, leaf in leaves("lazarus").items()
        if is_listed(leaf) and not any("--json" in each.opts for each in leaf.command.get_params(leaf.context))
    }
    assert without == rows("JSON", 1).keys(), "list the command in environment.md, or give it --json"
    assert rows("JSON", 0).keys() <= leaves("lazarus").keys() - without
