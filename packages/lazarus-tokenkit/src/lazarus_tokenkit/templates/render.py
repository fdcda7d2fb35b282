"""Renders a chat template as transformers does, in a sandbox: no attribute access to internals, a fixed date, limits.

A template is a program that came with somebody's weights. It sees roles, contents and the texts of bos and eos; it gets
the same date for ever, because a text that changes overnight has no reproducible length.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lazarus_plan import canonical_json
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples import JSON, Message

RENDERER_VERSION = 1
"""Raised when the same source and messages give another text; every length cache made before is then stale."""
MAX_CHARACTERS = 64_000_000
"""Limit on one rendered conversation: forty times the longest context window, a thousandth of what fills a machine."""
FLAGS = {"trim_blocks": True, "lstrip_blocks": True}
"""What transformers sets (`utils/chat_template_utils.py`)."""

PROBES: Mapping[str, tuple[Message, ...]] = {
    "one turn": (Message("user", " Hi\n"), Message("assistant", " Hello. ")),
    "two turns": (
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
        Message("assistant", "d"),
    ),
    "system": (Message("system", "Be brief."), Message("user", "Why?"), Message("assistant", "Because.")),
}
"""Fixed conversations whose rendering is part of the fingerprint."""

# What a template can raise by being wrong; anything else is a bug of ours.
TEMPLATE_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja source and everything else that its rendering depends on.

    Args:
        name: For messages.
        source: Jinja source.
        bos_token: Text of the begin token, or empty.
        eos_token: Text of the end token, or empty.
        pinned_date: What `strftime_now` formats, ISO 8601.
    """

    name: str
    source: str
    bos_token: str = ""
    eos_token: str = ""
    pinned_date: str = "2026-01-01"

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Sequence[JSON] = ()
    ) -> str:
        r"""The conversation as text.

        >>> hello = ChatTemplate("demo", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
        >>> hello.render([Message("user", "Hi")])
        'user: Hi\n'

        Raises:
            TemplateError: The template is malformed, forbids these messages or exceeds a limit.
        """
        turns = [message.to_json() for message in messages]
        compiled = self._compiled
        pieces: list[str] = []
        size = 0
        try:
            for piece in compiled.generate(
                messages=turns, tools=list(tools) or None, documents=None, add_generation_prompt=add_generation_prompt
            ):
                size += len(piece)
                if size > MAX_CHARACTERS:
                    raise jinja2.TemplateError(f"more than {MAX_CHARACTERS:,} characters")
                pieces.append(piece)
        except TEMPLATE_FAILURES as error:
            raise TemplateError(f"template `{self.name}` refuses the conversation: {error}", "LT-E204") from error
        return "".join(pieces)

    @cached_property
    def parts(self) -> dict[str, str]:
        """Digests by component, so that a mismatch can be named."""
        renders = {probe: self._render_or_refuse(messages) for probe, messages in PROBES.items()}
        flags = FLAGS | {"renderer": RENDERER_VERSION, "pinned_date": self.pinned_date}
        tokens = {"bos_token": self.bos_token, "eos_token": self.eos_token}
        components = {"source": self.source, "renderer": flags, "tokens": tokens, "renders": renders}
        return {name: hashlib.sha256(canonical_json(value)).hexdigest() for name, value in components.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over `parts`, 64 hex."""
        return hashlib.sha256(canonical_json(self.parts)).hexdigest()

    def _render_or_refuse(self, messages: Sequence[Message]) -> list[str | None]:
        texts: list[str | None] = []
        for add_generation_prompt in (False, True):
            try:
                texts.append(self.render(messages, add_generation_prompt=add_generation_prompt))
            except TemplateError:  # a refusal is an answer too: many templates know no system role
                texts.append(None)
        return texts

    @cached_property
    def _compiled(self) -> jinja2.Template:
        environment = _Sandbox(**FLAGS, extensions=[_GenerationBlock, loopcontrols])
        environment.filters["tojson"] = _to_json
        del environment.filters["random"], environment.globals["lipsum"]  # another text every time
        shown: dict[str, Any] = {
            "raise_exception": _raise_exception,
            "strftime_now": date.fromisoformat(self.pinned_date).strftime,
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
        }
        environment.globals.update(shown)
        try:
            return environment.from_string(self.source)
        except (jinja2.TemplateError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f" in line {line}" if line else ""
            raise TemplateError(f"template `{self.name}` is malformed{where}: {error}", "LT-E203") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which also refuses to multiply a text or a number into something huge."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(side) if hasattr(side, "__len__") else abs(side) for side in (left, right)]
        if operator == "**" or sizes[0] * sizes[1] > MAX_CHARACTERS:
            raise jinja2.exceptions.SecurityError(f"`{operator}` beyond {MAX_CHARACTERS:,}")
        return super().call_binop(context, operator, left, right)


class _GenerationBlock(Extension):
    """`{% generation %}`: marks the assistant's words for trainers; here it only shows its body.

    Where the loss lies is found by rendering prefixes, which works for every template and is what inference sees.
    """

    tags = {"generation"}  # noqa: RUF012 - the base class fixes the type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


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
