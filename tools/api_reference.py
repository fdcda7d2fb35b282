"""Prints the reference of the public names, `apps/lazarus-cli/docs/api.md`; `--write` replaces the page.

    uv run python tools/api_reference.py --write

The stubs (`__init__.pyi`) list the names; signatures and docstrings are read from the source, which is not imported. A
test compares the page.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "apps/lazarus-cli/docs/api.md"
PACKAGES = ("core", "plan", "tokenkit", "models", "train", "gym", "introspect", "corpus")
HEAD = """\
# Python interface

The public names of all packages, made from stubs and docstrings by `tools/api_reference.py`; a test compares this page. The root of a
package has the names that most programs need; its public modules have the others. A name that begins with `_`, and a module that is
not on this page, can change at any time. Every error is a subclass of `lazarus_core.LazarusError`, with a `code` ([all
codes](errors.md)).

Complete examples are in the guides and in the READMEs of the packages.
"""
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):\n((?:(?: {4}.*)?\n?)*)", re.MULTILINE)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


class Public(NamedTuple):
    """A public name.

    Args:
        name: The name in the stub.
        node: Its definition, or None for a whole module.
        docstring: Its documentation.
    """

    name: str
    node: Definition | None
    docstring: str


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text("utf-8"))


def source_of(folder: Path, module: str) -> Path:
    """The file of a module, relative to a package's folder.

    Args:
        folder: The folder of the package.
        module: Dotted name below it.
    """
    path = folder.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def definitions(body: list[ast.stmt]) -> Iterator[tuple[str, Definition, str]]:
    """Names that are defined in a body, with the docstring of each: that of a constant is the string below it."""
    for at, node in enumerate(body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            following = body[at + 1] if at + 1 < len(body) else None
            if isinstance(target, ast.Name):
                yield target.id, node, string_of(following)


def string_of(node: ast.stmt | None) -> str:
    """The text of a statement that is a string."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
        case _:
            return ""


def public_names(folder: Path) -> list[Public]:
    """The names in the stub of a package or a room, in its order, without the version."""
    found: list[Public] = []
    for node in parsed(folder / "__init__.pyi").body:
        if not isinstance(node, ast.ImportFrom) or node.module == "_version":
            continue
        base = folder
        for _ in range(node.level - 1):
            base = base.parent
        for alias in node.names:
            path = source_of(base, node.module) if node.module else source_of(base, alias.name)
            found.append(named(path, alias.name) or Public(alias.name, None, module_docstring(path)))
    return found


def named(path: Path, name: str) -> Public | None:
    """A definition in a file, followed through imports of the same package; None if there is none."""
    if not path.is_file():
        return None
    body = parsed(path).body
    overloaded = [Public(*each) for each in definitions(body) if each[0] == name]
    if overloaded:
        return overloaded[-1]
    for node in body:
        if isinstance(node, ast.ImportFrom) and any((each.asname or each.name) == name for each in node.names):
            inside = (node.module or "").partition(".")[2]
            package = next((each for each in path.parents if each.parent.name == "src"), path.parent)
            if node.module and node.module.split(".")[0] == package.name and inside:
                return named(source_of(package, inside), name)
    return None


def module_docstring(path: Path) -> str:
    """The docstring of a module."""
    return ast.get_docstring(parsed(path)) or "" if path.is_file() else ""


def first_sentence(docstring: str) -> str:
    """The first paragraph on one line, up to the end of its first sentence."""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    found = re.match(r"((?:\([^()]*\)|.)+?[.!?])(?= [A-Z`]|$)", paragraph)  # a full stop in parentheses ends nothing
    return found[1] if found else paragraph


def markdown(docstring: str) -> str:
    """A docstring of Google's style as Markdown: sections as lists, doctests as blocks."""
    text = SECTION.sub(lambda found: f"\n{listed(found[1], found[2])}\n", f"{docstring}\n")
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith(">>>"):
            parts.append(f"```pycon\n{paragraph}\n```")
        elif paragraph.startswith(("**", "- ")) or "\n- " in paragraph or "\n    " in paragraph:
            parts.append(paragraph)
        else:
            parts.append(" ".join(paragraph.split()).replace("<", "&lt;"))
    return "\n\n".join(parts)


def entries(body: str) -> list[str]:
    """The entries of a section, each on one line."""
    found: list[str] = []
    for line in body.splitlines():
        if re.match(r" {4}\S", line):
            found.append(line.strip())
        elif line.strip() and found:
            found[-1] += f" {line.strip()}"
    return found


def listed(title: str, body: str) -> str:
    """A section of a docstring as a list."""
    found = entries(body)
    if title in ("Returns", "Yields"):
        return f"**{title}**: {' '.join(found)}"
    items = [re.sub(r"^(\*{0,2}[\w.]+): ", r"`\1`: ", each).replace("<", "&lt;") for each in found]
    return f"**{title}**\n" + "\n".join(f"- {item}" for item in items)


def signature(node: Definition) -> str:
    """The first line of a definition, without the body."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            given, returns = arguments(node), result(node)
            text = f"def {node.name}({', '.join(given)}){returns}"
            lines = "".join(f"    {each},\n" for each in given)
            return text if len(text) <= 110 else f"def {node.name}(\n{lines}){returns}"
        case ast.ClassDef():
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            return f"class {node.name}({bases})" if bases else f"class {node.name}"
        case _:
            text = ast.unparse(node)
            return text if len(text) <= 200 else f"{text[:190].rsplit(',', 1)[0]}, ..."


def result(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The arrow and the type of what a function returns."""
    return f" -> {ast.unparse(node.returns).strip(chr(39))}" if node.returns else ""


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The parameters of a function as they are written, without `self` and `cls`."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    written = [
        parameter(each, default)
        for each, default in zip(positional, defaults, strict=True)
        if each.arg not in ("self", "cls")
    ]
    if given.vararg:
        written.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        written.append("*")
    written += [parameter(each, default) for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [*written, f"**{ast.unparse(given.kwarg)}"] if given.kwarg else written


def parameter(node: ast.arg, default: ast.expr | None) -> str:
    """A parameter with its default."""
    equals = " = " if node.annotation else "="
    return ast.unparse(node) + (f"{equals}{ast.unparse(default)}" if default is not None else "")


def members(node: ast.ClassDef, documented: dict[str, str]) -> str:
    """The fields of a class as a table and its public methods as a list.

    Args:
        node: The class.
        documented: What its `Args:` say of fields.
    """
    fields: list[str] = []
    methods: list[str] = []
    for name, each, docstring in definitions(node.body):
        if name.startswith("_") or name == "model_config":
            continue
        if isinstance(each, ast.AnnAssign):
            default = f" = {ast.unparse(each.value)}" if each.value else ""
            kind = shortened(f"{ast.unparse(each.annotation)}{default}").replace("|", "\\|")
            fields.append(f"| `{name}` | `{kind}` | {cell(docstring or documented.get(name, ''))} |")
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not is_hidden(each):
            given = "" if is_property(each) else f"({', '.join(arguments(each))})"
            words = f": {first_sentence(docstring)}" if docstring else ""
            methods.append(f"- `{name}{given}{result(each)}`{words}")
    table = ["| field | type and default | meaning |\n|---|---|---|\n" + "\n".join(fields)] if fields else []
    return "\n\n".join([*table, *(["\n".join(methods)] if methods else [])])


def shortened(code: str) -> str:
    """Code of a field, cut where it is very long."""
    return code if len(code) <= 160 else f"{code[:150]}..."


def cell(text: str) -> str:
    """A text in a cell of a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a method is read like a field."""
    return any(ast.unparse(each).rpartition(".")[2] in ("property", "cached_property") for each in node.decorator_list)


def is_hidden(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a method is a check of pydantic or an overload."""
    names = {ast.unparse(each).partition("(")[0] for each in node.decorator_list}
    return bool(names & {"model_validator", "field_validator", "field_serializer", "overload", "override"})


def entry(package: str, public: Public) -> str:
    """The section of a name of a package's root."""
    docstring = public.docstring
    parts = [f"### {package}.{public.name}"]
    if public.node is not None:
        parts.append(f"```python\n{signature(public.node)}\n```")
    if isinstance(public.node, ast.ClassDef):
        documented = args_of(docstring)
        fields = {name for name, each, _ in definitions(public.node.body) if isinstance(each, ast.AnnAssign)}
        if documented and documented.keys() <= fields:  # the table of fields has them
            docstring = SECTION.sub(lambda found: "" if found[1] == "Args" else found[0], f"{docstring}\n")
        parts += [markdown(docstring), members(public.node, documented)]
    else:
        parts.append(markdown(docstring))
    return "\n\n".join(part for part in parts if part)


def args_of(docstring: str) -> dict[str, str]:
    """The entries of the `Args:` of a docstring."""
    body = next((found[2] for found in SECTION.finditer(f"{docstring}\n") if found[1] == "Args"), "")
    pairs = [entry.partition(": ") for entry in entries(body)]
    return {name: words for name, _, words in pairs}


def rooms(folder: Path) -> str:
    """The public modules of a package, each with its names."""
    lines: list[str] = []
    for path in sorted(folder.iterdir()):
        name = path.stem
        is_room = (path / "__init__.pyi").is_file()
        if not is_room or name.startswith("_"):
            continue
        docstring = first_sentence(module_docstring(path / "__init__.py"))
        lines.append(f"**`{folder.name}.{name}`**: {docstring}\n")
        rows = [f"| `{each.name}` | {cell(first_sentence(each.docstring))} |" for each in public_names(path)]
        lines.append("| name | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(lines).strip()


def page() -> str:
    """The whole page."""
    parts = [HEAD.strip()]
    index = ["| package | names |", "|---|---|"]
    sections: list[str] = []
    for short in PACKAGES:
        package = f"lazarus_{short}"
        folder = ROOT / f"packages/lazarus-{short}/src/{package}"
        names = public_names(folder)
        links = ", ".join(f"[`{each.name}`](#{package}{each.name.lower()})" for each in names)
        index.append(f"| [`{package}`](#{package}) | {links} |")
        sections += [
            f"## {package}",
            markdown(module_docstring(folder / "__init__.py")),
            *(entry(package, each) for each in names),
        ]
        if listing := rooms(folder):
            sections += [f"### Modules of {package}", listing]
    return "\n\n".join([*parts, "\n".join(index), *sections]) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
    else:
        sys.stdout.write(page())
