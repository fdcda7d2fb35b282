"""Joins modules of a package into one Python file that works without the package."""

import ast
import sys
from collections.abc import Sequence


def join_sources(sources: Sequence[str], *, own: Sequence[str]) -> str:
    """One file of several sources: the docstring of the last one, all imports, then the code.

    Imports of the package itself are left out, so the sources must define what they import of each other, and under different
    names.

    Args:
        sources: Texts of modules, those that others import first. Each has a docstring and at least one import.
        own: Names of the packages whose imports are left out: what is used of them is defined in the sources.

    Raises:
        ValueError: Two sources define the same name.
    """
    trees = [ast.parse(source) for source in sources]
    _check_names(trees)
    docstring = ast.get_docstring(trees[-1], clean=False)
    imports = _merged([node for tree in trees for node in tree.body], own)
    return f'"""{docstring}"""\n\n{imports}\n\n\n' + "\n\n\n".join(map(_body, sources)) + "\n"


def _check_names(trees: list[ast.Module]) -> None:
    seen: set[str] = set()
    for tree in trees:
        names = _defined(tree)
        if twice := seen & names:
            raise ValueError(f"two sources define `{min(twice)}`")
        seen |= names


def _defined(tree: ast.Module) -> set[str]:
    """Names of the functions, classes and variables of a module."""
    found: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign():
                found |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=str(name))):
                found.add(name)
            case _:
                pass
    return found


def _merged(nodes: list[ast.stmt], own: Sequence[str]) -> str:
    """The imports of all sources, the standard library first."""
    named: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] not in own:
            named.setdefault(node.module, set()).update(
                alias.name if alias.asname is None else f"{alias.name} as {alias.asname}" for alias in node.names
            )
    plain = {
        f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    lines = [(line.split()[1], line) for line in plain]
    lines += [(module, f"from {module} import {', '.join(sorted(names))}") for module, names in named.items()]
    groups: list[list[str]] = [[], []]
    for module, line in sorted(lines, key=lambda each: (each[1].startswith("from"), each[1])):
        groups[module.partition(".")[0] not in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group)


def _body(source: str) -> str:
    """A source without its docstring and imports."""
    nodes = ast.parse(source).body
    last = [node for node in nodes[1:] if isinstance(node, ast.Import | ast.ImportFrom)][-1]
    return "\n".join(source.splitlines()[last.end_lineno or 0 :]).strip("\n")
