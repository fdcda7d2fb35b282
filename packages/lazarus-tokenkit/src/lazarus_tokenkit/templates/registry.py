"""Named chat templates, and the rule that chooses one: the requested one, else the tokenizer's own, else `plain`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lazarus_core.bounded import read_bytes
from lazarus_tokenkit import chat_formats as formats
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizers.protocol import Tokenizer, special_text

MAX_SOURCE_BYTES = 1 << 20
"""Largest template file. The sandbox applies its own, lower limit in characters."""
OWN = "own"
"""Name of the template in the tokenizer's files."""


@dataclass(frozen=True)
class TemplateEntry:
    """A named template and its requirements on the vocabulary.

    Args:
        source: Jinja source.
        end_of_turn: Token that ends an assistant turn; `eos` means the tokenizer's eos token.
        special_tokens: Texts that must be special tokens of the vocabulary.
        roles: Roles (`bos`, `eos`) that must have a token.
        has_system: Whether a system message is rendered; otherwise the template refuses it.
        has_tools: Whether tools and tool calls are rendered.
    """

    source: str
    end_of_turn: str
    special_tokens: tuple[str, ...] = ()
    roles: tuple[Literal["bos", "eos"], ...] = ()
    has_system: bool = True
    has_tools: bool = False


_CHATML_MARKS = ("<|im_start|>", "<|im_end|>")
_LLAMA3_MARKS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
REGISTRY: Mapping[str, TemplateEntry] = {
    "chatml": TemplateEntry(formats.CHATML, "<|im_end|>", special_tokens=_CHATML_MARKS),
    "chatml-tools": TemplateEntry(formats.CHATML_TOOLS, "<|im_end|>", special_tokens=_CHATML_MARKS, has_tools=True),
    "plain": TemplateEntry(formats.PLAIN, "eos", roles=("eos",)),
    "llama2": TemplateEntry(formats.LLAMA2, "eos", roles=("bos", "eos")),
    "llama3": TemplateEntry(formats.LLAMA3, "<|eot_id|>", special_tokens=_LLAMA3_MARKS, roles=("bos",)),
    "phi": TemplateEntry(formats.PHI, "<|end|>", special_tokens=("<|user|>", "<|assistant|>", "<|end|>")),
    "gemma": TemplateEntry(
        formats.GEMMA,
        "<end_of_turn>",
        special_tokens=("<start_of_turn>", "<end_of_turn>"),
        roles=("bos",),
        has_system=False,
    ),
    "zephyr": TemplateEntry(formats.ZEPHYR, "eos", roles=("eos",)),
    "qwen3": TemplateEntry(formats.QWEN3, "<|im_end|>", special_tokens=_CHATML_MARKS, has_tools=True),
    "vicuna": TemplateEntry(formats.VICUNA, "eos", roles=("eos",)),
    "alpaca": TemplateEntry(formats.ALPACA, "eos", roles=("eos",)),
    "instruct": TemplateEntry(formats.INSTRUCT, "eos", roles=("eos",)),
    "chat": TemplateEntry(formats.CHAT, "eos", roles=("eos",)),
}
"""ChatML with and without tools, plain text, the formats of eight model families, and two formats for models from scratch."""


def registered(name: str) -> TemplateEntry:
    """Returns a template of the registry.

    Raises:
        TemplateError: No registered template has this name.
    """
    if name not in REGISTRY:
        raise TemplateError(f"no registered template `{name}`: choose {_known()}", "LT-E201")
    return REGISTRY[name]


def choose_template(tokenizer: Tokenizer, wanted: str | None, pinned_date: str) -> ChatTemplate:
    """Chooses the chat template of a tokenizer.

    Args:
        tokenizer: Supplies the special tokens and its own template.
        wanted: A name in `REGISTRY`, `own`, a path to a Jinja file, or None. None takes the tokenizer's own template if
            it has one, else `plain`.
        pinned_date: Date that the template receives as today, ISO 8601.

    Raises:
        TemplateError: The template does not exist, or the vocabulary lacks its special tokens.
    """
    name = wanted or (OWN if tokenizer.chat_template is not None else "plain")
    return ChatTemplate(
        name=Path(name).name,
        source=_source(tokenizer, name),
        bos_token=special_text(tokenizer, tokenizer.bos_id) or "",
        eos_token=special_text(tokenizer, tokenizer.eos_id) or "",
        pinned_date=pinned_date,
    )


def missing_tokens(tokenizer: Tokenizer, entry: TemplateEntry) -> list[str]:
    """Lists the special tokens and roles that a template needs and the tokenizer lacks.

    Args:
        tokenizer: The tokenizer to check.
        entry: The template with its requirements.
    """
    ids = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    missing = [text for text in entry.special_tokens if text not in tokenizer.special_tokens]
    return missing + [role for role in entry.roles if ids[role] is None]


def _source(tokenizer: Tokenizer, name: str) -> str:
    if name == OWN:
        if tokenizer.chat_template is None:
            raise TemplateError(f"tokenizer `{tokenizer.name}` has no chat template: choose {_known()}", "LT-E201")
        return tokenizer.chat_template
    if name in REGISTRY:
        if missing := missing_tokens(tokenizer, REGISTRY[name]):
            needs = ", ".join(f"`{text}`" for text in missing)
            raise TemplateError(
                f"template `{name}` needs the special tokens {needs}, which tokenizer `{tokenizer.name}` lacks",
                "LT-E202",
            )
        return REGISTRY[name].source
    if Path(name).is_file():
        try:
            return read_bytes(name, MAX_SOURCE_BYTES).decode()
        except UnicodeDecodeError as error:
            raise TemplateError(f"{name}: byte {error.start + 1} is not UTF-8; convert the file", "LT-E203") from error
    raise TemplateError(f"no template `{name}`: choose {_known()}, `{OWN}` or a Jinja file", "LT-E201")


def _known() -> str:
    return ", ".join(f"`{name}`" for name in REGISTRY)
