"""What every message of the source has in common: no Python lists, no reprs of paths, no options in a library's error."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w`/-])--[a-z][\w-]*|`--[a-z][\w-]*")
TESTERS = "lazarus_plan/testing/"
"""The package whose modules test the loaders of other programs; their readers are programmers."""
COMMAND_LINE = re.compile(r"/cli/|/cli\.py|lazarus_cli/|lazarus_core/(console|cli_\w+|settings/command)")
CONTAINERS = {"list", "sorted", "tuple", "set", "dict", "frozenset"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted([*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("apps/*/src/**/*.py")]):
        if TESTERS not in path.as_posix():
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


@functools.cache
def messages() -> list[tuple[str, ast.JoinedStr | ast.Constant]]:
    return list(found_messages())


def found_messages() -> Iterator[tuple[str, ast.JoinedStr | ast.Constant]]:
    """The place of each text in a `raise`, with the text."""
    for name, tree in sources():
        for raised in (each for each in ast.walk(tree) if isinstance(each, ast.Raise) and each.exc is not None):
            inner = {id(value) for each in ast.walk(raised) if isinstance(each, ast.JoinedStr) for value in each.values}
            for text in ast.walk(raised):
                is_text = isinstance(text, ast.JoinedStr) or (
                    isinstance(text, ast.Constant) and isinstance(text.value, str) and id(text) not in inner
                )
                if is_text:
                    yield f"{name}:{text.lineno}", text


def words(text: ast.JoinedStr | ast.Constant) -> str:
    parts = [text] if isinstance(text, ast.Constant) else text.values
    return "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in parts)


def test_no_message_shows_a_list_of_python():
    shown = [
        (place, ast.unparse(value.value))
        for place, text in messages()
        if isinstance(text, ast.JoinedStr)
        for value in text.values
        if isinstance(value, ast.FormattedValue)
        and isinstance(value.value, ast.List | ast.Tuple | ast.Dict | ast.Set | ast.ListComp | ast.Call)
        and (
            not isinstance(value.value, ast.Call)
            or (isinstance(value.value.func, ast.Name) and value.value.func.id in CONTAINERS)
        )
    ]
    assert shown == []


def test_no_message_shows_the_repr_of_a_path():
    shown = [
        (place, ast.unparse(value.value))
        for place, text in messages()
        if isinstance(text, ast.JoinedStr)
        for value in text.values
        if isinstance(value, ast.FormattedValue)
        and value.conversion == ord("r")
        and re.search(r"(^|[._])(path|folder|file|output|data)$", ast.unparse(value.value))
    ]
    assert shown == []


def test_no_error_of_a_library_names_an_option():
    shown = [
        (place, found[0])
        for place, text in messages()
        if not COMMAND_LINE.search(place) and "command line: " not in words(text)
        if (found := OPTION.search(words(text)))
    ]
    assert shown == []
