"""Figures of the code's structure, for the log: files, folders, imports, functions, comments, public names, start-up.

    uv run python tools/house.py [ROOT]
    uv run python tools/house.py --times

Run it on two checkouts to compare them. A *deep import* is an import of another package's module below its public ones
(`lazarus_x.y.z`). A *circle* is a set of modules or rooms of one package that import each other. A *long function* has a
body of more than 60 lines, without signature and docstring. Times are CPU seconds of whole processes, the best of seven
in turn.
"""

import ast
import os
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

NUMERIC = re.compile(
    r"packing/|ascii_ints|step_codec|packed\.py|packers\.py|packing\.py|digits\.py|codec\.py|scan|segment_attention|run_attention"
    r"|cpu/adam|adam\.py|swiglu|vectors|numpy_views|balance|keyed|permutation|quantiz|rope|mamba"
)
MAX_LINES = 60
TIMED = {
    "`import lazarus_train`": "import lazarus_train",
    "`from lazarus_train import train`": "from lazarus_train import train",
    **{
        f"`{words} --help`": f"import sys; from {module}.__main__ import main; sys.argv[1:] = {words.split()[1:]} + ['--help']; main()"
        for words, module in {
            "lazarus": "lazarus_cli",
            "lazarus-plan": "lazarus_plan",
            "lazarus train sft": "lazarus_cli",
            "lazarus infer": "lazarus_cli",
        }.items()
    },
}
"""Code of each process whose time is measured."""
ROUNDS = 7


def modules_of(source: Path) -> dict[str, Path]:
    """Modules of a package by name, without the package's own name."""
    found = {}
    for path in source.rglob("*.py"):
        name = ".".join(path.relative_to(source).with_suffix("").parts)
        found[name.removesuffix("__init__").rstrip(".")] = path
    return found


def imports_of(path: Path, package: str) -> tuple[set[str], int]:
    """Modules of the same package that a file imports, and its number of deep imports of other packages."""
    own: set[str] = set()
    deep = 0
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            head, _, rest = node.module.partition(".")
            if head == package:
                own |= {f"{rest}.{each.name}".lstrip(".") for each in node.names} | {rest}
            elif head.startswith("lazarus_") and "." in rest:
                deep += 1
    return own, deep


def circles(edges: dict[str, set[str]]) -> int:
    """Number of strongly connected components with more than one member (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    count = 0

    def visit(node: str) -> None:
        nonlocal count
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            count += len(members) > 1

    for node in list(edges):
        if node not in index:
            visit(node)
    return count


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def cpu_seconds(code: str) -> float:
    """CPU time of a new interpreter that runs some code."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, code
    return usage.ru_utime + usage.ru_stime


def show_times() -> None:
    """Prints the time of each start."""
    best = dict.fromkeys(TIMED, float("inf"))
    for _ in range(ROUNDS):
        for name, code in TIMED.items():
            best[name] = min(best[name], cpu_seconds(code))
    print("| start | CPU seconds |\n|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} |")


def show_structure(root: Path) -> None:
    """Prints the table of packages."""
    rows = []
    for source in sorted([*root.glob("packages/*/src/*"), *root.glob("apps/*/src/*")]):
        if not (source / "__init__.py").is_file():
            continue
        package = source.name
        modules = modules_of(source)
        lines = [len(path.read_text("utf-8").splitlines()) for path in modules.values()]
        folders = Counter(path.parent for path in modules.values())
        edges: dict[str, set[str]] = {}
        rooms: dict[str, set[str]] = defaultdict(set)
        deep = long = comments = numeric = 0
        for name, path in modules.items():
            own, found = imports_of(path, package)
            edges[name] = {each for each in own if each in modules and each != name}
            rooms[name.split(".")[0]] |= {each.split(".")[0] for each in edges[name]} - {name.split(".")[0]}
            deep += found
            text = path.read_text("utf-8")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    long += body_lines(node) > MAX_LINES
            if NUMERIC.search(str(path.relative_to(source))):
                numeric += len(text.splitlines())
                comments += sum("#" in line.split('"')[0] for line in text.splitlines())
        stub, init = source / "__init__.pyi", (source / "__init__.py").read_text("utf-8")
        names = len(re.findall(r" as \w+", stub.read_text("utf-8") if stub.is_file() else init))
        density = f"{100 * comments / numeric:.1f} %" if numeric else "-"
        rows.append(
            (
                package.removeprefix("lazarus_"),
                *(len(modules), f"{statistics.median(lines):.0f}", max(lines), max(folders.values())),
                *(deep, circles(edges) + circles(rooms), long, density, names),
            )
        )
    print(
        "| package | files | median | largest | most in a folder | deep imports | circles | long functions | comments | names |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    if sys.argv[1:] == ["--times"]:
        show_times()
    else:
        show_structure(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])
