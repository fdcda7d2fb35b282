"""Renders a chat template as transformers does, in a sandbox: no attribute access to internals, a fixed date, limits.

A template is an untrusted program from a model's files. Its inputs are roles, contents and the texts of bos and eos. The date
is fixed, because lengths must be reproducible on any day.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jinja2
import jinja2.meta

from lazarus_core.canonical import canonical_json
from lazarus_tokenkit.chat_formats import PLAIN
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import JSON, Message
from lazarus_tokenkit.templates import limits, sandbox
from lazarus_tokenkit.templates.content_independent import is_content_independent
from lazarus_tokenkit.templates.sandbox import CLOSE, FLAGS, OPEN

RENDERER_VERSION = 1
"""Increased when the same source and messages give a different text. All earlier length caches are then stale."""
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
"""Fixed conversations. Their renderings are part of the template's digest."""

RENDERER_NAMES = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token", "strftime_now"}
)
"""Names that the renderer sets; variables do not replace them."""

# Exceptions that an invalid template can raise. Any other exception is a bug in this package.
TEMPLATE_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja source and all other inputs of its rendering.

    Args:
        name: Name for error messages.
        source: Jinja source.
        bos_token: Text of the bos token, or empty.
        eos_token: Text of the eos token, or empty.
        pinned_date: Date that `strftime_now` formats, ISO 8601.
        variables: Further names that the template may read, such as `enable_thinking`, with JSON values.
    """

    name: str
    source: str
    bos_token: str = ""
    eos_token: str = ""
    pinned_date: str = "2026-01-01"
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Sequence[JSON] = ()
    ) -> str:
        r"""Renders a conversation as text.

        >>> hello = ChatTemplate("demo", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
        >>> hello.render([Message("user", "Hi")])
        'user: Hi\n'

        Args:
            messages: The turns.
            add_generation_prompt: Whether the header of the next assistant turn is added at the end.
            tools: JSON schemas of the functions that the assistant may call.

        Raises:
            TemplateError: The template is malformed, forbids these messages or exceeds a limit.
        """
        return self._render(self._compiled, messages, add_generation_prompt, tools)

    @property
    def is_text(self) -> bool:
        """Whether the template is `plain`. Plain text has no chat format, so the tokenizer's rule for bos applies.

        The source is compared, not the name: a model trained with `plain` stores it as its own template.
        """
        return self.source == PLAIN

    @cached_property
    def parts(self) -> dict[str, str]:
        """SHA-256 digests by component. A mismatch can then be reported by name."""
        renders = {probe: self._render_or_refuse(messages) for probe, messages in PROBES.items()}
        flags = FLAGS | {"renderer": RENDERER_VERSION, "pinned_date": self.pinned_date}
        tokens = {"bos_token": self.bos_token, "eos_token": self.eos_token}
        components: dict[str, Any] = {"source": self.source, "renderer": flags, "tokens": tokens, "renders": renders}
        if self.variables:
            components["variables"] = dict(self.variables)
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
            except TemplateError:  # a refusal is part of the behaviour: many templates have no system role
                texts.append(None)
        return texts

    @cached_property
    def has_generation_blocks(self) -> bool:
        """Whether the template has `{% generation %}` blocks."""
        return re.search(r"\{%-?\s*generation\s*-?%\}", self.source) is not None

    @cached_property
    def variable_names(self) -> frozenset[str]:
        """The names that the template reads and that only `variables` can give, such as `enable_thinking`.

        Raises:
            TemplateError: The template is malformed.
        """
        _ = self._compiled  # refuses a malformed template
        environment = sandbox.make_environment({})
        found = jinja2.meta.find_undeclared_variables(environment.parse(self.source))
        return frozenset(found - RENDERER_NAMES - environment.globals.keys())

    @cached_property
    def is_content_independent(self) -> bool:
        """Whether the layout is independent of the contents; see `templates.content_independent`.

        Raises:
            TemplateError: The template is malformed.
        """
        _ = self._compiled  # refuses a template that is malformed or nested too deeply to walk
        return is_content_independent(sandbox.make_environment({}).parse(self.source))

    def generation_spans(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Sequence[JSON] = ()
    ) -> list[tuple[int, int]]:
        """Returns the half-open character range of each `{% generation %}` block in the rendered text.

        Args:
            messages: The turns.
            add_generation_prompt: Whether the header of the next assistant turn is added at the end.
            tools: JSON schemas of the functions that the assistant may call.
        """
        spans: list[tuple[int, int]] = []
        done = start = 0
        for part in re.split(f"([{OPEN}{CLOSE}])", self._render(self._marked, messages, add_generation_prompt, tools)):
            if part == OPEN:
                start = done
            elif part == CLOSE:
                spans.append((start, done))
            else:
                done += len(part)
        return spans

    def _render(
        self, compiled: jinja2.Template, messages: Sequence[Message], add_generation_prompt: bool, tools: Sequence[JSON]
    ) -> str:
        turns = [message.to_json() for message in messages]
        pieces: list[str] = []
        size = 0
        try:
            with limits.limited():
                for piece in compiled.generate(
                    messages=turns,
                    tools=list(tools) or None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                ):
                    size += len(piece)
                    limits.check_size(size)
                    pieces.append(piece)
        except TEMPLATE_FAILURES as error:
            raise TemplateError(f"template `{self.name}` refuses the conversation: {error}", "LT-E204") from error
        return "".join(pieces)

    @cached_property
    def _compiled(self) -> jinja2.Template:
        return self._compile(is_marked=False)

    @cached_property
    def _marked(self) -> jinja2.Template:
        return self._compile(is_marked=True)

    def _compile(self, *, is_marked: bool) -> jinja2.Template:
        shown: dict[str, Any] = {
            **self.variables,  # first: no variable replaces a name of the renderer
            "strftime_now": sandbox.pinned_clock(self.pinned_date),
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
        }
        try:
            with limits.limited():  # Jinja evaluates constant expressions during compilation
                return sandbox.make_environment(shown, is_marked=is_marked).from_string(self.source)
        except (
            jinja2.TemplateError,
            MemoryError,
            RecursionError,
            SyntaxError,
            ValueError,  # for example an integer with more digits than Python parses
            OverflowError,
        ) as error:  # from Jinja's or Python's parser
            line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else None
            where = f" in line {line}" if line else ""
            raise TemplateError(f"template `{self.name}` is malformed{where}: {error}", "LT-E203") from error
