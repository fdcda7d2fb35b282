"""Tests the properties of a chat template on fixed conversations. Each property has a name and evidence of a failure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lazarus_tokenkit.encoding.loss_spans import SpanFinder
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import JSON, Message
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

Level = Literal["error", "warning", "information"]

TURNS = (
    Message("user", "First question."),
    Message("assistant", "First answer."),
    Message("user", "Second question."),
    Message("assistant", "Second answer."),
)
SYSTEM = Message("system", "Be brief.")
TOOL: JSON = {
    "type": "function",
    "function": {"name": "add_up", "description": "Adds.", "parameters": {"type": "object", "properties": {}}},
}


@dataclass(frozen=True)
class Property:
    """One property of a chat template.

    Args:
        name: Short name.
        holds: Whether the template has the property.
        level: Severity if it does not.
        evidence: The observed output if it does not, else empty.
    """

    name: str
    holds: bool
    level: Level
    evidence: str


def validate_template(template: ChatTemplate, tokenizer: Tokenizer) -> list[Property]:
    """Tests all properties of a template. If it does not render, only this failure is returned.

    Args:
        template: The template to test.
        tokenizer: The tokenizer that encodes the template's output.
    """
    try:
        whole = template.render(TURNS)
    except TemplateError as error:
        return [Property("renders", False, "error", error.message)]
    checks: list[Callable[[ChatTemplate, Tokenizer, str], Property]] = [
        _is_prefix_stable,
        _prompt_begins_the_answer,
        _header_is_in_the_prompt,
        _contents_occur_once,
        _bos_occurs_once,
        _answers_end,
        _loss_is_found,
        _system_is_rendered,
        _is_independent_of_date,
        _tools_are_rendered,
    ]
    return [Property("renders", True, "error", ""), *(check(template, tokenizer, whole) for check in checks)]


def failures(properties: Sequence[Property]) -> list[Property]:
    """Returns the failed properties of level `error`."""
    return [each for each in properties if not each.holds and each.level == "error"]


def _is_prefix_stable(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    for count in range(2, len(TURNS)):
        shorter = _try(template, TURNS[:count])
        if shorter is not None and not whole.startswith(shorter):
            evidence = f"{count} turns end with {shorter[-30:]!r}, which is missing when more turns follow"
            return Property("prefix-stable", False, "warning", evidence)
    return Property("prefix-stable", True, "warning", "")


def _prompt_begins_the_answer(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    for count in (1, 3):
        prompt = _try(template, TURNS[:count], add_generation_prompt=True)
        if prompt is None or not whole.startswith(prompt):
            evidence = (
                "refused" if prompt is None else f"the prompt ends with {prompt[-30:]!r}, the turn begins differently"
            )
            return Property("prompt-begins-answer", False, "error", evidence)
    return Property("prompt-begins-answer", True, "error", "")


def _header_is_in_the_prompt(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    """Tests whether the prompt contains the header of the answer. Otherwise the header would carry loss.

    Text between the prompt's header and the content, such as empty thoughts, is part of the answer.
    """
    before, prompt = (_try(template, TURNS[:1], add_generation_prompt=asked) for asked in (False, True))
    if prompt is None or before is None or not whole.startswith(prompt):
        return Property("header-in-prompt", True, "error", "")  # `prompt-begins-answer` reports it
    header = whole[len(prompt) :].partition(TURNS[1].content)[0]
    holds = len(prompt) > len(before) or not header.strip()
    seen = f"the turn begins with {header!r}, and `add_generation_prompt` adds nothing to the prompt"
    level: Level = "warning" if template.has_generation_blocks else "error"
    effect = "generation would start without it" if template.has_generation_blocks else "the model would learn it"
    return Property("header-in-prompt", holds, level, "" if holds else f"{seen}: {effect}")


def _contents_occur_once(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    wrong = [f"{turn.content!r} {whole.count(turn.content)} times" for turn in TURNS if whole.count(turn.content) != 1]
    return Property("contents-once", not wrong, "error", ", ".join(wrong))


def _bos_occurs_once(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    twice = bool(template.bos_token) and whole.startswith(template.bos_token * 2)
    return Property("bos-once", not twice, "error", f"begins with {whole[:30]!r}" if twice else "")


def _answers_end(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    tail = whole.rpartition(TURNS[-1].content)[2]
    ends = bool(tokenizer.special_spans(tail))
    evidence = (
        "" if ends else f"the text after the last answer, {tail!r}, has no special token: generation would not stop"
    )
    return Property("answers-end", ends, "error", evidence)


def _loss_is_found(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    try:
        pieces = SpanFinder(tokenizer, template).conversation(TURNS)
    except TemplateError as error:
        return Property("loss-exact", False, "error", error.message)
    texts = [piece.text for piece in pieces if piece.has_loss]
    ok = len(texts) == 2 and all(turn.content in text for turn, text in zip(TURNS[1::2], texts, strict=True))
    return Property("loss-exact", ok, "error", "" if ok else f"these texts would carry loss: {texts}")


def _system_is_rendered(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    text = _try(template, (SYSTEM, *TURNS))
    if text is None:
        return Property("system", False, "information", "a system message is refused")
    is_rendered = SYSTEM.content in text
    return Property("system", is_rendered, "information", "" if is_rendered else "a system message is left out")


def _is_independent_of_date(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    asks = "strftime_now" in template.source
    evidence = f"it uses the date; it always receives {template.pinned_date}" if asks else ""
    return Property("dateless", not asks, "warning", evidence)


def _tools_are_rendered(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    try:
        shown = "add_up" in template.render(TURNS, tools=[TOOL])
    except TemplateError:
        shown = False
    return Property("tools", shown, "information", "" if shown else "tools are left out")


def _try(template: ChatTemplate, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str | None:
    try:
        return template.render(messages, add_generation_prompt=add_generation_prompt)
    except TemplateError:
        return None
