"""The sandbox of chat templates: no access to internals, no changes to its inputs, limits on time and size.

A chat template is a program that is downloaded with model weights. Its syntax tree is rewritten so that every loop,
call, list and slice is checked by `limits` and `measures`. Only the filters and methods that chat templates use exist.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates import limits, measures

FLAGS = {"trim_blocks": True, "lstrip_blocks": True}
"""The settings of transformers (`utils/chat_template_utils.py`)."""
OPEN, CLOSE = "\ufdee", "\ufdef"
"""Noncharacters that enclose `{% generation %}` blocks in a marked rendering."""
MAX_SOURCE = 200_000
"""Characters of a template. The longest published templates have 25,000."""
DATE_PATTERN = re.compile(r"[^%]{0,99}(?:%-?[a-zA-Z%][^%]{0,99}){0,20}")


def make_environment(shown: Mapping[str, Any], *, is_marked: bool = False) -> ImmutableSandboxedEnvironment:
    """Creates the Jinja environment of one template.

    Args:
        shown: Global names for the template, besides its arguments.
        is_marked: Whether `{% generation %}` blocks are enclosed in `OPEN` and `CLOSE`.
    """
    block = MarkedGenerationBlock if is_marked else GenerationBlock
    environment = Sandbox(**FLAGS, extensions=[block, loopcontrols], finalize=_writable)
    filters = environment.filters | {"tojson": _to_json}
    environment.filters = {name: _measured(name, filters[name]) for name in filters if name in measures.FILTERS}
    del environment.globals["lipsum"]  # returns random text
    names: dict[str, Any] = {"raise_exception": _raise_exception, **shown}
    environment.globals.update(names)
    return environment


def pinned_clock(pinned_date: str) -> Callable[[str], str]:
    """Returns a `strftime_now` that always formats `pinned_date`."""
    try:
        day = date.fromisoformat(pinned_date)
    except ValueError as error:
        raise TemplateError(
            f"`pinned_date` {pinned_date!r} is not a date: {error}; give one such as 2026-01-31", "LT-E208"
        ) from error

    def strftime_now(pattern: str) -> str:
        if not DATE_PATTERN.fullmatch(pattern):  # C libraries accept any padding width
            raise SecurityError(f"{pattern[:60]!r} is not a date pattern")
        return day.strftime(pattern)

    return strftime_now


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a time check in every loop and a size check before every operation that can grow a value."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))
    concat = staticmethod(limits.joined)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Evaluates a binary operation. Jinja calls it for the operators in `intercepted_binops`.

        Args:
            context: Jinja's context of the template.
            operator: `*`, `**`, `+` or `%`.
            left: Left operand.
            right: Right operand.

        Raises:
            SecurityError: The result would be too large.
        """
        measures.measure_operation(operator, left, right)
        return limits.charge(super().call_binop(context, operator, left, right))

    def call(self, context: Any, callable_: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a function or method for a template. Jinja calls it for every call expression.

        Args:
            context: Jinja's context of the template.
            callable_: The function or bound method.
            args: Positional arguments; iterators are read into lists first, so that their size is known.
            kwargs: Keyword arguments.

        Raises:
            SecurityError: The call is not allowed, its result would be too large, or the time limit has passed.
        """
        function = getattr(callable_, "__wrapped__", callable_)
        owner = getattr(function, "__self__", None)
        if owner is self:  # `tick`, `joined` or `charged`
            return callable_(*args)
        limits.check_deadline()
        given = [_listed(value) for value in args]
        measures.measure_method(owner, getattr(function, "__name__", ""), [*given, *kwargs.values()])
        return limits.charge(super().call(context, callable_, *given, **kwargs))

    def tick(self) -> str:
        """Checks the time limit. The rewritten tree calls it in every loop and macro."""
        limits.check_deadline()
        return ""

    def joined(self, *parts: Any) -> str:
        """Concatenates like `~`, with a size check."""
        for part in parts:
            measures.written_size(part)
        return limits.joined(map(str, parts))

    def charged(self, made: Any) -> Any:
        """Counts a list, tuple, dict or slice against the budget."""
        return limits.charge(made)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_SOURCE:
            raise jinja2.TemplateSyntaxError(f"it has more than {MAX_SOURCE:,} characters", 1)
        template = super()._parse(source, name, filename)
        for loop in template.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            loop.body.insert(0, nodes.Output([_call("tick", [])]))
        _meter(template)
        return template


class GenerationBlock(Extension):
    """Renders the body of `{% generation %}`, the block that marks the assistant's text for training."""

    tags = {"generation"}  # noqa: RUF012 - the base class fixes the type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Parses the body without a new variable scope."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class MarkedGenerationBlock(GenerationBlock):
    """Renders the body of `{% generation %}` between `OPEN` and `CLOSE`."""

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Parses the body and encloses it in marks."""
        marks = (nodes.Output([nodes.TemplateData(mark)]) for mark in (OPEN, CLOSE))
        return [next(marks), *super().parse(parser), next(marks)]


def _call(method: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)


def _meter(node: nodes.Node) -> None:
    """Replaces every node that can create a large value by a call of a checking method."""
    for name, value in node.iter_fields():
        if isinstance(value, list):
            elements = cast("list[Any]", value)
            for place, each in enumerate(elements):
                if isinstance(each, nodes.Node):
                    _meter(each)
                    elements[place] = _metered(each)
        elif isinstance(value, nodes.Node):
            _meter(value)
            setattr(node, name, _metered(value))


def _metered(node: nodes.Node) -> nodes.Node:
    match node:
        case nodes.Concat():
            return _call("joined", node.nodes)
        case nodes.List() | nodes.Dict() | nodes.Tuple(ctx="load") | nodes.Getitem(arg=nodes.Slice()):
            return _call("charged", [node])
        case _:
            return node


def _measured(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    passed = 1 if hasattr(inner, "jinja_pass_arg") else 0  # the first argument is the environment or the context

    def measured(*args: Any, **kwargs: Any) -> Any:
        given = [*args[:passed], *map(_listed, args[passed:])]
        measures.measure_filter(name, [*given[passed:], *kwargs.values()])
        return limits.charge(inner(*given, **kwargs))

    if passed:
        measured.jinja_pass_arg = inner.jinja_pass_arg  # type: ignore[attr-defined]
    return measured


def _listed(value: Any) -> Any:
    """Turns an iterator into a list, because the size check reads it before the filter does."""
    return limits.charge(list(cast("Iterator[Any]", value))) if isinstance(value, Iterator) else value


def _writable(value: Any) -> Any:
    if not isinstance(value, str):
        measures.written_size(value)
    return value


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own `tojson` escapes HTML; transformers' does not.
    measures.measure_json(value, indent)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
