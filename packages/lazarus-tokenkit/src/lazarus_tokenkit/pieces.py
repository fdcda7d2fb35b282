"""Cuts a rendered conversation exactly where loss begins and ends.

A turn of the assistant begins where the prompt for it ends: the text rendered up to the turn before, with the
generation prompt. It ends with its end-of-turn token. Each side of a cut is encoded by itself, so what training sees
before an answer has the very ids that inference starts from.

Characters that Unicode reserves for internal use (U+FDD0..U+FDEF, never text) travel through the template with the
contents: one breaks the texts of special tokens that people wrote, so that only the template's own are left; one marks
where a content ends, so that the end-of-turn token is the first special token behind it, whatever the template trims.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples import ASSISTANT, Message
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizer import SpecialSpan, Tokenizer

NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))


@dataclass(frozen=True)
class Piece:
    """A stretch of text that is encoded by itself.

    Args:
        text: The text, with `shield` inside every special token's text that is to stay text.
        has_loss: Whether its tokens carry loss.
        shield: A noncharacter, or empty where nothing had to be shielded.
    """

    text: str
    has_loss: bool
    shield: str = ""


class Cutter:
    """Cuts texts and conversations for one tokenizer and one template."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        self._template = template
        self._find_special: Callable[[str], list[SpecialSpan]] = tokenizer.special_spans
        texts = sorted(tokenizer.special_tokens, key=len, reverse=True)
        # One character where any special token begins; `(?!)` where there is none never matches.
        self._special_start = re.compile(f"(?=(?:{'|'.join(map(re.escape, texts)) or '(?!)'}))(.)", re.DOTALL)

    def text(self, text: str) -> Piece:
        """A document: all of it carries loss, and none of it is a special token."""
        shield, _ = _free_noncharacters([text])
        return _piece(self._break(text, shield), True, shield)

    def conversation(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[Piece]:
        """The pieces of a conversation; their texts joined, without shields, are what the template renders.

        Raises:
            TemplateError: A template that renders a turn differently once more turns follow.
        """
        shield, mark = _free_noncharacters([message.content for message in messages])
        messages = [replace(message, content=self._break(message.content, shield)) for message in messages]
        text = self._template.render(messages, add_generation_prompt=add_generation_prompt)
        pieces: list[Piece] = []
        done = 0
        for turn, message in enumerate(messages):
            if message.role == ASSISTANT:
                start = self._turn_start(messages[:turn], text)
                end = self._turn_end(messages[: turn + 1], text, mark)
                pieces += [_piece(text[done:start], False, shield), _piece(text[start:end], True, shield)]
                done = end
        pieces.append(_piece(text[done:], False, shield))
        return [piece for piece in pieces if piece.text]

    def _turn_start(self, before: Sequence[Message], text: str) -> int:
        prompt = self._template.render(before, add_generation_prompt=True)
        if not text.startswith(prompt):
            raise self._unstable(len(before), "the prompt for it is not how the turn begins")
        return len(prompt)

    def _turn_end(self, turns: Sequence[Message], text: str, mark: str) -> int:
        content = turns[-1].content
        words = content.rstrip()
        marked = replace(turns[-1], content=words + mark + content[len(words) :])
        head, found, tail = self._template.render([*turns[:-1], marked]).partition(mark)
        if not found or not text.startswith(head):
            raise self._unstable(len(turns) - 1, "its content changes when more turns follow")
        special = next(iter(self._find_special(tail)), None)
        if special is None or not text.startswith(head + tail[: special.end]):
            return len(head)  # no end-of-turn token here: some templates write one behind the last turn only
        return len(head) + special.end

    def _unstable(self, turn: int, reason: str) -> TemplateError:
        return TemplateError(
            f"template `{self._template.name}` does not show where the loss of message {turn} lies: {reason};"
            " use another template or one answer a sample",
            "LT-E205",
        )

    def _break(self, text: str, shield: str) -> str:
        return self._special_start.sub(rf"\1{shield}", text)


def _piece(text: str, has_loss: bool, shield: str) -> Piece:
    return Piece(text, has_loss, shield if shield in text else "")


def _free_noncharacters(contents: Sequence[str]) -> tuple[str, str]:
    """Two noncharacters that occur in no content."""
    free = (mark for mark in NONCHARACTERS if not any(mark in content for content in contents))
    match list(islice(free, 2)):
        case [shield, mark]:
            return shield, mark
        case _:
            raise TemplateError(
                "the text uses all noncharacters U+FDD0..U+FDEF, which are no text; remove them", "LT-E206"
            )
