"""Where a template runs: no attribute access to internals, no change of what it is given, limits on time and size.

A template is a program that came with somebody's weights. Its syntax tree is rewritten so that every loop, call, list
and slice passes by `limits` and `measures`; only the filters and methods that chat templates use are there.
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
"""What transformers sets (`utils/chat_template_utils.py`)."""
OPEN, CLOSE = "\ufdee", "\ufdef"
"""Noncharacters that stand around `{% generation %}` blocks in a marked rendering."""
MAX_SOURCE = 200_000
"""Characters of a template; the longest in use have 25,000."""
DATE_PATTERN = re.compile(r"[^%]{0,99}(?:%-?[a-zA-Z%][^%]{0,99}){0,20}")


def make_environment(shown: Mapping[str, Any], *, is_marked: bool = False) -> ImmutableSandboxedEnvironment:
    """The environment of one template.

    Args:
        shown: Names that the template sees besides its arguments.
        is_marked: Whether `{% generation %}` blocks stand between `OPEN` and `CLOSE`.
    """
    block = MarkedGenerationBlock if is_marked else GenerationBlock
    environment = Sandbox(**FLAGS, extensions=[block, loopcontrols], finalize=_writable)
    filters = environment.filters | {"tojson": _to_json}
    environment.filters = {name: _measured(name, filters[name]) for name in filters if name in measures.FILTERS}
    del environment.globals["lipsum"]  # another text every time
    names: dict[str, Any] = {"raise_exception": _raise_exception, **shown}
    environment.globals.update(names)
    return environment


def pinned_clock(pinned_date: str) -> Callable[[str], str]:
    """`strftime_now` of a day that stays."""
    try:
        day = date.fromisoformat(pinned_date)
    except ValueError as error:
        raise TemplateError(f"{pinned_date!r} is no date: {error}; write one such as 2026-01-31", "LT-E208") from error

    def strftime_now(pattern: str) -> str:
        if not DATE_PATTERN.fullmatch(pattern):  # C libraries pad to any width
            raise SecurityError(f"{pattern[:60]!r} is no pattern of a date")
        return day.strftime(pattern)

    return strftime_now


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with a look at the clock in every round and a measure before everything that grows."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))
    concat = staticmethod(limits.joined)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuses to make something huge."""
        measures.measure_operation(operator, left, right)
        return limits.charge(super().call_binop(context, operator, left, right))

    def call(self, context: Any, callable_: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Refuses methods from which something huge comes."""
        function = getattr(callable_, "__wrapped__", callable_)
        owner = getattr(function, "__self__", None)
        if owner is self:  # one of the three below
            return callable_(*args)
        limits.check_deadline()
        given = [_listed(value) for value in args]
        measures.measure_method(owner, getattr(function, "__name__", ""), [*given, *kwargs.values()])
        return limits.charge(super().call(context, callable_, *given, **kwargs))

    def tick(self) -> str:
        """Stands in every loop and macro; calls look at the clock too."""
        limits.check_deadline()
        return ""

    def joined(self, *parts: Any) -> str:
        """What `~` does, measured."""
        for part in parts:
            measures.written_size(part)
        return limits.joined(map(str, parts))

    def charged(self, made: Any) -> Any:
        """A list, tuple, dict or slice."""
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


def _meter(node: nodes.Node) -> None:
    """Passes what grows by the environment."""
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
    """What can be gone through once only, as a list."""
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
    # Jinja's own filter escapes HTML.
    measures.measure_json(value, indent)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
