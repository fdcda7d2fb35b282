"""Checks D40 to D51: the chat template, and how the vocabulary encodes its output."""

import re
from collections.abc import Iterator

from lazarus_tokenkit.checks.templates import TURNS, validate_template
from lazarus_tokenkit.checks.tokenizer_files import Finding, Severity, TokenizerFiles
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.registry import OWN, REGISTRY, choose_template, missing_tokens
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

MARK = re.compile(r"<\|[\w/-]+\|>|<(?:start|end)_of_turn>|<(?:bos|eos|s|/s)>")
"""Matches text in a template's source that has the form of a special token."""
NEEDS_BOS = {"gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n"}
"""Model types whose output is useless without bos (vLLM PR #52304)."""
PINNED = "2026-01-01"
PROPERTIES: dict[str, tuple[str, Severity]] = {
    "system": ("D44", "information"),
    "prompt-begins-answer": ("D45", "error"),
    "header-in-prompt": ("D45", "error"),
    "prefix-stable": ("D46", "warning"),
    "dateless": ("D48", "error"),
    "tools": ("D50", "information"),
    "answers-end": ("D11", "error"),
    "contents-once": ("D46", "error"),
}


def check(files: TokenizerFiles) -> Iterator[Finding]:
    """Yields the findings of D40 to D51."""
    tokenizer = files.tokenizer
    if tokenizer is None:
        return
    if tokenizer.chat_template is None:
        fitting = fitting_templates(tokenizer)
        hint = f"; its special tokens match {', '.join(fitting)}" if fitting else ""
        yield Finding("D40", "warning", f"there is no chat template{hint}")
        return
    template = choose_template(tokenizer, OWN, PINNED)
    yield from _marks(template, tokenizer)
    try:
        text = template.render(TURNS)
    except TemplateError as error:
        is_unsafe = "unsafe" in error.message or "__" in template.source
        yield Finding("D49" if is_unsafe else "D40", "error", "the chat template does not render", error.message)
        return
    if "__" in template.source or "import" in re.findall(r"\{%-?\s*(\w+)", template.source):
        yield Finding("D49", "error", "the chat template tries to access Python internals or to import")
    yield from _bos(template, tokenizer, text, files)
    for found in validate_template(template, tokenizer):
        if not found.holds and found.name in PROPERTIES:
            number, severity = PROPERTIES[found.name]
            if found.name == "header-in-prompt":  # only a warning if generation blocks exclude the header from the loss
                severity = found.level
            yield Finding(number, severity, f"the chat template lacks the property `{found.name}`", found.evidence)
    yield from _end_of_turn(tokenizer, text)
    if not template.has_generation_blocks:
        message = (
            "no {% generation %} block: trainers that need the assistant's mask cannot compute it; Encoder derives it from"
            " rendered prefixes"
        )
        yield Finding("D47", "information", message)
    yield from _block_settings(template, text)


def fitting_templates(tokenizer: HuggingFaceTokenizer) -> list[str]:
    """Names the registered templates whose special tokens the vocabulary has. Of one family only the simplest counts."""
    families: dict[tuple[str, ...], str] = {}
    for name, entry in REGISTRY.items():
        if entry.special_tokens and not missing_tokens(tokenizer, entry):
            families.setdefault(entry.special_tokens, name)
    return list(families.values())


def _marks(template: ChatTemplate, tokenizer: HuggingFaceTokenizer) -> Iterator[Finding]:
    known = set(tokenizer.special_tokens)
    for mark in dict.fromkeys(MARK.findall(template.source)):
        ids = tokenizer.encode(mark)
        if mark not in known and len(ids) > 1:
            yield Finding("D41", "error", f"{mark!r} of the chat template is not a token", f"it is encoded as {ids}")


def _bos(
    template: ChatTemplate, tokenizer: HuggingFaceTokenizer, text: str, files: TokenizerFiles
) -> Iterator[Finding]:
    starts = bool(template.bos_token) and text.startswith(template.bos_token)
    if starts and text.startswith(template.bos_token * 2):
        yield Finding("D42", "error", "the chat template writes bos twice", repr(text[:40]))
    elif starts and tokenizer.adds_bos:
        yield Finding(
            "D42",
            "warning",
            "rendered text that is encoded with special tokens gets bos twice; Encoder adds it once",
        )
    elif tokenizer.adds_bos and not starts:
        message = "the tokenizer adds bos to texts but the chat template writes none: conversations have no bos"
        yield Finding("D43", "information", message, "`apply_chat_template` of transformers does the same")
    if files.model_config.get("model_type") in NEEDS_BOS and not starts:
        yield Finding(
            "D43",
            "error",
            f"`{files.model_config['model_type']}` needs bos, and the chat template does not write it",
        )


def _end_of_turn(tokenizer: HuggingFaceTokenizer, text: str) -> Iterator[Finding]:
    tail = text.rpartition(TURNS[-1].content)[2]
    spans = tokenizer.special_spans(tail)
    if spans and tokenizer.eos_id is not None and tokenizer.eos_id not in [span.id for span in spans]:
        ends = tail[spans[0].start : spans[0].end].strip()
        yield Finding("D11", "error", f"turns end with {ends!r}, which is not eos: generation would not stop there")


def _block_settings(template: ChatTemplate, text: str) -> Iterator[Finding]:
    """D51: renders with other white-space settings and compares the texts."""
    from lazarus_tokenkit.templates import limits, sandbox

    shown = {
        "bos_token": template.bos_token,
        "eos_token": template.eos_token,
        "strftime_now": sandbox.pinned_clock(PINNED),
    }
    environment = sandbox.make_environment(shown)
    environment.trim_blocks = environment.lstrip_blocks = False
    try:
        turns = [message.to_json() for message in TURNS]
        with limits.limited():
            other = environment.from_string(template.source).render(
                messages=turns, tools=None, documents=None, add_generation_prompt=False
            )
    except Exception:  # noqa: BLE001 - any failure with these settings is a difference too
        other = None
    if other != text:
        yield Finding(
            "D51",
            "information",
            "the template depends on trim_blocks and lstrip_blocks: renderers without them give other white space",
        )
