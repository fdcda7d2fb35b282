"""What a chat template keeps to, tried out on conversations: each property by name, with what was seen where it fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lazarus_tokenkit.encoding.loss_spans import Cutter
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
    """One property and whether it holds.

    Args:
        name: Short name.
        holds: Whether it does.
        level: How bad it is if it does not.
        evidence: What was seen.
    """

    name: str
    holds: bool
    level: Level
    evidence: str


def validate_template(template: ChatTemplate, tokenizer: Tokenizer) -> list[Property]:
    """Tries a template out; where it does not even render, that is the only property told."""
    try:
        whole = template.render(TURNS)
    except TemplateError as error:
        return [Property("renders", False, "error", error.message)]
    checks: list[Callable[[ChatTemplate, Tokenizer, str], Property]] = [
        _is_prefix_stable,
        _prompt_begins_the_answer,
        _header_is_in_the_prompt,
        _contents_stand_once,
        _bos_stands_once,
        _answers_end,
        _loss_is_found,
        _system_is_heard,
        _date_is_not_asked,
        _tools_are_shown,
    ]
    return [Property("renders", True, "error", ""), *(check(template, tokenizer, whole) for check in checks)]


def failures(properties: Sequence[Property]) -> list[Property]:
    """Errors among what does not hold."""
    return [each for each in properties if not each.holds and each.level == "error"]


def _is_prefix_stable(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    for count in range(2, len(TURNS)):
        shorter = _try(template, TURNS[:count])
        if shorter is not None and not whole.startswith(shorter):
            evidence = f"{count} turns end with {shorter[-30:]!r}, which is not there once more follow"
            return Property("prefix-stable", False, "warning", evidence)
    return Property("prefix-stable", True, "warning", "")


def _prompt_begins_the_answer(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    for count in (1, 3):
        prompt = _try(template, TURNS[:count], add_generation_prompt=True)
        if prompt is None or not whole.startswith(prompt):
            evidence = (
                "refused" if prompt is None else f"the prompt ends with {prompt[-30:]!r}, the turn begins otherwise"
            )
            return Property("prompt-begins-answer", False, "error", evidence)
    return Property("prompt-begins-answer", True, "error", "")


def _header_is_in_the_prompt(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    """Whether the words in front of an answer belong to the prompt: otherwise the model would learn to write them.

    Words that follow a header of the prompt, such as empty thoughts, are the model's own.
    """
    before, prompt = (_try(template, TURNS[:1], add_generation_prompt=asked) for asked in (False, True))
    if prompt is None or before is None or not whole.startswith(prompt):
        return Property("header-in-prompt", True, "error", "")  # `prompt-begins-answer` says so
    header = whole[len(prompt) :].partition(TURNS[1].content)[0]
    holds = len(prompt) > len(before) or not header.strip()
    seen = f"the turn begins with {header!r}, and `add_generation_prompt` adds nothing to the prompt"
    level: Level = "warning" if template.has_generation_blocks else "error"
    learnt = "generation would start without it" if template.has_generation_blocks else "the model would learn it"
    return Property("header-in-prompt", holds, level, "" if holds else f"{seen}: {learnt}")


def _contents_stand_once(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    wrong = [f"{turn.content!r} {whole.count(turn.content)} times" for turn in TURNS if whole.count(turn.content) != 1]
    return Property("contents-once", not wrong, "error", ", ".join(wrong))


def _bos_stands_once(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    twice = bool(template.bos_token) and whole.startswith(template.bos_token * 2)
    return Property("bos-once", not twice, "error", f"begins with {whole[:30]!r}" if twice else "")


def _answers_end(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    tail = whole.rpartition(TURNS[-1].content)[2]
    ends = bool(tokenizer.special_spans(tail))
    evidence = "" if ends else f"behind the last answer stands {tail!r}, no special token: generation would not stop"
    return Property("answers-end", ends, "error", evidence)


def _loss_is_found(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    try:
        pieces = Cutter(tokenizer, template).conversation(TURNS)
    except TemplateError as error:
        return Property("loss-exact", False, "error", error.message)
    texts = [piece.text for piece in pieces if piece.has_loss]
    ok = len(texts) == 2 and all(turn.content in text for turn, text in zip(TURNS[1::2], texts, strict=True))
    return Property("loss-exact", ok, "error", "" if ok else f"loss would lie on {texts}")


def _system_is_heard(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    text = _try(template, (SYSTEM, *TURNS))
    if text is None:
        return Property("system", False, "information", "a system message is refused")
    heard = SYSTEM.content in text
    return Property("system", heard, "information", "" if heard else "a system message is left out")


def _date_is_not_asked(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
    asks = "strftime_now" in template.source
    evidence = f"it asks for the date; it is told {template.pinned_date}, always" if asks else ""
    return Property("dateless", not asks, "warning", evidence)


def _tools_are_shown(template: ChatTemplate, tokenizer: Tokenizer, whole: str) -> Property:
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
