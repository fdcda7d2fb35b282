"""Renders a chat template as transformers does, in a sandbox: no attribute access to internals, a fixed date, limits.

A template is a program that came with somebody's weights. It sees roles, contents and the texts of bos and eos; it gets
the same date for ever, because a text that changes overnight has no reproducible length.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jinja2

from lazarus_core.canonical import canonical_json
from lazarus_tokenkit.chat_formats import PLAIN
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import JSON, Message
from lazarus_tokenkit.templates import limits, sandbox
from lazarus_tokenkit.templates.content_independent import is_opaque
from lazarus_tokenkit.templates.sandbox import CLOSE, FLAGS, OPEN

RENDERER_VERSION = 1
"""Raised when the same source and messages give another text; every length cache made before is then stale."""
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
    MemoryError,
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
        return self._render(self._compiled, messages, add_generation_prompt, tools)

    @property
    def is_text(self) -> bool:
        """Whether it is `plain`: no chat format, so the tokenizer's rule for bos applies as to any text.

        The source decides and not the name, because a model that was trained with `plain` has it as its own template.
        """
        return self.source == PLAIN

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
    def has_generation_blocks(self) -> bool:
        """Whether the template marks the assistant's words itself."""
        return re.search(r"\{%-?\s*generation\s*-?%\}", self.source) is not None

    @cached_property
    def is_opaque(self) -> bool:
        """Whether it only ever passes contents on; see `templates.opaque`.

        Raises:
            TemplateError: The template is malformed.
        """
        _ = self._compiled  # refuses what is malformed or too deep to be walked
        return is_opaque(sandbox.make_environment({}).parse(self.source))

    def generation_spans(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Sequence[JSON] = ()
    ) -> list[tuple[int, int]]:
        """First character and the one after the last of each `{% generation %}` block in the rendered text."""
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
        shown = {
            "strftime_now": sandbox.pinned_clock(self.pinned_date),
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
        }
        try:
            with limits.limited():  # constants are made here already
                return sandbox.make_environment(shown, is_marked=is_marked).from_string(self.source)
        except (
            jinja2.TemplateError,
            MemoryError,
            RecursionError,
            SyntaxError,
            ValueError,  # an integer of more digits than Python reads
            OverflowError,
        ) as error:  # of Jinja's or Python's parser
            line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else None
            where = f" in line {line}" if line else ""
            raise TemplateError(f"template `{self.name}` is malformed{where}: {error}", "LT-E203") from error
