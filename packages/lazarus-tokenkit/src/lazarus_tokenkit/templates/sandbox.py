"""Where a template runs: no attribute access to internals, no change of what it is given, limits on time and size.

A template is a program that came with somebody's weights. Loops and macros look at the clock in every round; whatever
makes a long text out of a short one (`*`, `+`, `~`, `%`, padding, replacing, joining) is measured before it is done.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS = 64_000_000
"""Limit on one rendered conversation: forty times the longest context window, a thousandth of what fills a machine."""
TIMEOUT_S = 10.0
"""A conversation renders in a millisecond; one of a thousand turns in a tenth of a second."""
FLAGS = {"trim_blocks": True, "lstrip_blocks": True}
"""What transformers sets (`utils/chat_template_utils.py`)."""
OPEN, CLOSE = "\ufdee", "\ufdef"
"""Noncharacters that stand around `{% generation %}` blocks in a marked rendering."""
GROWING_FILTERS = ("center", "format", "indent", "join", "replace", "wordwrap", "xmlattr", "urlize", "tojson", "pprint")
_budget = threading.local()


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """Within it, a template of this thread may run so long."""
    _budget.deadline = time.monotonic() + seconds
    try:
        yield
    finally:
        _budget.deadline = None


def make_environment(shown: Mapping[str, Any], *, is_marked: bool = False) -> ImmutableSandboxedEnvironment:
    """The environment of one template.

    Args:
        shown: Names that the template sees besides its arguments.
        is_marked: Whether `{% generation %}` blocks stand between `OPEN` and `CLOSE`.
    """
    block = MarkedGenerationBlock if is_marked else GenerationBlock
    environment = Sandbox(**FLAGS, extensions=[block, loopcontrols])
    environment.filters["tojson"] = _to_json
    del environment.filters["random"], environment.globals["lipsum"]  # another text every time
    for name in GROWING_FILTERS:
        environment.filters[name] = _measured(environment.filters[name])
    names: dict[str, Any] = {"raise_exception": _raise_exception, **shown}
    environment.globals.update(names)
    return environment


def pinned_clock(pinned_date: str) -> Callable[[str], str]:
    """`strftime_now` of a day that stays."""
    return date.fromisoformat(pinned_date).strftime


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with a look at the clock in every round and a measure before everything that grows."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuses to make something huge."""
        match operator:
            case "**":
                raise SecurityError("`**` is refused")
            case "+" if isinstance(left, str | list | tuple):
                _check_size(_size(left) + _size(right))
            case "%" if isinstance(left, str):
                _check_arguments((left, right))
            case "*":
                _check_size(_size(left) * _size(right))
            case _:
                pass
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, callable_: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Refuses arguments from which a method makes something huge."""
        owner = getattr(getattr(callable_, "__wrapped__", callable_), "__self__", None)
        if isinstance(owner, str):
            _check_arguments((owner, *args, *kwargs.values()))
        return super().call(context, callable_, *args, **kwargs)

    def tick(self) -> str:
        """Looks at the clock; stands in every loop and macro."""
        deadline = getattr(_budget, "deadline", None)
        if deadline is not None and time.monotonic() > deadline:
            raise SecurityError(f"it runs for more than {TIMEOUT_S:g} s")
        return ""

    def joined(self, *parts: Any) -> str:
        """What `~` does, measured."""
        texts = [str(part) for part in parts]
        _check_size(sum(map(len, texts)))
        return "".join(texts)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        for loop in template.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            loop.body.insert(0, nodes.Output([_call("tick", [])]))
        _replace_concatenations(template)
        return template


class GenerationBlock(Extension):
    """`{% generation %}`: marks the assistant's words for trainers; here it only shows its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class fixes the type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body, without a scope of its own."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class MarkedGenerationBlock(GenerationBlock):
    """The same, with marks around its body."""

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body between marks."""
        marks = (nodes.Output([nodes.TemplateData(mark)]) for mark in (OPEN, CLOSE))
        return [next(marks), *super().parse(parser), next(marks)]


def _call(method: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)


def _replace_concatenations(node: nodes.Node) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, list):
            elements = cast("list[Any]", value)
            for place, each in enumerate(elements):
                if isinstance(each, nodes.Node):
                    _replace_concatenations(each)
                    elements[place] = _without_concatenation(each)
        elif isinstance(value, nodes.Node):
            _replace_concatenations(value)
            setattr(node, name, _without_concatenation(value))


def _without_concatenation(node: nodes.Node) -> nodes.Node:
    return _call("joined", node.nodes) if isinstance(node, nodes.Concat) else node


def _measured(inner: Callable[..., Any]) -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Any:
        _check_arguments((*args, *kwargs.values()))
        return inner(*args, **kwargs)

    for mark in ("jinja_pass_arg",):
        if hasattr(inner, mark):  # says that the first argument is the environment or the context
            setattr(measured, mark, getattr(inner, mark))
    return measured


def _check_arguments(values: tuple[Any, ...]) -> None:
    """Refuses numbers that pad far, and texts that together could give something huge."""
    texts = [value for value in values if isinstance(value, str)]
    if any(isinstance(value, int) and abs(value) > MAX_CHARACTERS // 1000 for value in values):
        raise SecurityError(f"a width beyond {MAX_CHARACTERS // 1000:,}")
    if any("%" in text or "{" in text for text in texts) and any(_has_wide_field(text) for text in texts):
        raise SecurityError(f"a width beyond {MAX_CHARACTERS // 1000:,}")
    if len(texts) == 3:  # replace: every character of the first can become the third
        _check_size((len(texts[0]) // max(len(texts[1]), 1) + 1) * len(texts[2]))
    for value in values:
        if isinstance(value, list | tuple) and texts:  # join
            value = cast("list[Any]", value)
            _check_size(sum(map(_size, value)) + len(value) * max(map(len, texts)))


def _has_wide_field(text: str) -> bool:
    digits = 0
    for letter in text:
        digits = digits + 1 if letter.isdigit() else 0
        if digits > 5:
            return True
    return False


def _size(value: Any) -> int:
    if isinstance(value, int | float):
        return int(abs(value))
    return len(value) if hasattr(value, "__len__") else 1


def _check_size(size: int) -> None:
    if size > MAX_CHARACTERS:
        raise SecurityError(f"more than {MAX_CHARACTERS:,} characters")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
