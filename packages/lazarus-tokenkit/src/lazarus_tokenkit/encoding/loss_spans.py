"""Cuts a rendered conversation exactly where loss begins and ends.

A turn of the assistant begins where the prompt for it ends: the text rendered up to the turn before, with the
generation prompt. It ends with its end-of-turn token. Each side of a cut is encoded by itself, so what training sees
before an answer has the very ids that inference starts from. A template that marks the assistant's words with
`{% generation %}` is cut at its marks instead. Turns that carry no loss are cut too, so that a conversation has the same
ids as a sample, as the start of a sample and as a prompt.

Characters that Unicode reserves for internal use (U+FDD0..U+FDEF, never text) travel through the template with the
contents: one breaks the texts of special tokens that people wrote, so that only the template's own are left; one marks
where a content ends, so that the end-of-turn token is the first special token behind it, whatever the template trims.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple, cast

from lazarus_tokenkit.encoding.cached_render import HOLE, NONCHARACTERS, Piece, Skeleton
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import ASSISTANT, JSON, Message
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.templates.sandbox import CLOSE, OPEN
from lazarus_tokenkit.tokenizers.protocol import SpecialSpan, Tokenizer

Render = Callable[..., str]
EXCHANGE = ("user", ASSISTANT)
"""Roles of a question and its answer."""
EXCHANGE_SHAPE = EXCHANGE, 0, False
"""Roles, first turn with loss, whether a prompt follows: what a skeleton is of."""
UNSTABLE = "LT-E205"
"""Code of a template whose earlier turns change when more follow."""


class _Answer(NamedTuple):
    """First character of a turn of the assistant in a rendered text, the one after its last, and whether it has loss."""

    start: int
    end: int
    has_loss: bool


class Cutter:
    """Cuts texts and conversations for one tokenizer and one template."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        self._template = template
        self._find_special: Callable[[str], list[SpecialSpan]] = tokenizer.special_spans
        texts = sorted(tokenizer.special_tokens, key=len, reverse=True)
        # One character where any special token begins; `(?!)` where there is none never matches.
        self._reserved = re.compile(
            f"{'|'.join(map(re.escape, texts)) or '(?!)'}|[{NONCHARACTERS[0]}-{NONCHARACTERS[-1]}]"
        )
        # What all special tokens with the same first character begin with: quick to look for.
        self._beginnings = tuple(_shared_start(group) for _, group in groupby(sorted(texts), itemgetter(0)))
        self._skeletons: dict[tuple[tuple[str, ...], int, bool], Skeleton] = {}
        self._special_start = re.compile(f"(?=(?:{'|'.join(map(re.escape, texts)) or '(?!)'}))(.)", re.DOTALL)

    @cached_property
    def _is_opaque(self) -> bool:
        return self._template.is_opaque

    def text(self, text: str) -> Piece:
        """A document: all of it carries loss, and none of it is a special token."""
        if not self._is_reserved(text):
            return Piece(text, True)
        shield, _ = _free_noncharacters([text])
        return _piece(self._break(text, shield), True, shield)

    def conversation(
        self,
        messages: Sequence[Message],
        tools: Sequence[JSON] = (),
        *,
        add_generation_prompt: bool = False,
        has_loss: bool = True,
    ) -> list[Piece]:
        """The pieces of a conversation; their texts joined, without shields, are what the template renders.

        Args:
            messages: Its turns.
            tools: Functions that the assistant may call.
            add_generation_prompt: Whether the opening of the assistant's next turn stands at the end.
            has_loss: Whether the assistant's turns carry loss.

        Raises:
            TemplateError: A template that renders a turn differently once more turns follow.
        """
        return self._pieces(messages, tools, 0 if has_loss else len(messages), add_generation_prompt)

    def exchange(self, prompt: str, completion: str) -> list[Piece]:
        """`conversation` of a question and its answer."""
        contents = prompt, completion
        if self._is_opaque and not self._is_reserved(prompt) and not self._is_reserved(completion):
            skeleton = self._skeletons.get(EXCHANGE_SHAPE)
            if skeleton is not None:
                return skeleton.fill(contents)
        return self.conversation([Message(*turn) for turn in zip(EXCHANGE, contents, strict=True)])

    def answer(self, prompt: Sequence[Message], answer: Sequence[Message], tools: Sequence[JSON] = ()) -> list[Piece]:
        """The pieces of a conversation in which only the turns of `answer` carry loss."""
        return self._pieces([*prompt, *answer], tools, len(prompt), False)

    def _pieces(
        self, messages: Sequence[Message], tools: Sequence[JSON], first: int, add_generation_prompt: bool
    ) -> list[Piece]:
        """Cuts the assistant's turns from number `first` on out of the rendered conversation."""
        contents = [message.content for message in messages]
        if not tools and self._is_opaque and self._are_plain(messages, contents):
            skeleton = self._skeletons.get(
                key := (tuple(message.role for message in messages), first, add_generation_prompt)
            )
            if skeleton is None:
                skeleton = self._skeletons[key] = self._skeleton(messages, first, add_generation_prompt)
            return skeleton.fill(contents)
        return self._cut(messages, tools, first, add_generation_prompt)

    def _are_plain(self, messages: Sequence[Message], contents: Sequence[str]) -> bool:
        """Whether messages are roles and contents only, none with the text of a special token or a noncharacter."""
        if any(message.tool_calls or message.name or message.tool_call_id for message in messages):
            return False
        return not any(map(self._is_reserved, contents))

    def _is_reserved(self, text: str) -> bool:
        """Whether a text holds that of a special token or a noncharacter."""
        if text.isascii():
            for start in self._beginnings:
                if start in text:
                    break
            else:
                return False
        return self._reserved.search(text) is not None

    def _skeleton(self, messages: Sequence[Message], first: int, add_generation_prompt: bool) -> Skeleton:
        """The pieces with a place for each content, cut the slow way once."""
        places = [f"{HOLE}{number}{HOLE}" for number in range(len(messages))]
        held = [Message(message.role, place) for message, place in zip(messages, places, strict=True)]
        return Skeleton.of(self._cut(held, (), first, add_generation_prompt))

    def _cut(
        self, messages: Sequence[Message], tools: Sequence[JSON], first: int, add_generation_prompt: bool
    ) -> list[Piece]:
        shield, mark = _free_noncharacters([text for message in messages for text in _texts(message)])
        messages = [self._shielded(message, shield) for message in messages]
        render = partial(self._template.render, tools=tools)
        text = render(messages, add_generation_prompt=add_generation_prompt)
        self._refuse_silence(messages, tools, text, add_generation_prompt)
        pieces: list[Piece] = []
        done = 0
        if self._template.has_generation_blocks:
            answers = self._marked_answers(messages, tools, first, text, add_generation_prompt)
        else:
            answers = self._answers(render, messages, tools, first, text, mark)
        for start, end, has_loss in answers:
            pieces += [_piece(text[done:start], False, shield), _piece(text[start:end], has_loss, shield)]
            done = end
        pieces.append(_piece(text[done:], False, shield))
        return [piece for piece in pieces if piece.text]

    def _refuse_silence(
        self, messages: Sequence[Message], tools: Sequence[JSON], text: str, add_generation_prompt: bool
    ) -> None:
        """A template that knows no tools leaves them out without a word, and a model would learn to call nothing."""
        less: dict[str, tuple[Sequence[Message], Sequence[JSON]]] = {}
        if tools:
            less["tools"] = messages, ()
        if any(message.tool_calls for message in messages):
            less["tool calls"] = [replace(message, tool_calls=()) for message in messages], tools
        for what, (turns, left) in less.items():
            if self._render_or_none(turns, left, add_generation_prompt) == text:
                raise TemplateError(
                    f"template `{self._template.name}` leaves the {what} out; use one that shows them, such as"
                    " `chatml-tools`",
                    "LT-E207",
                )

    def _render_or_none(
        self, messages: Sequence[Message], tools: Sequence[JSON], add_generation_prompt: bool
    ) -> str | None:
        try:
            return self._template.render(messages, add_generation_prompt=add_generation_prompt, tools=tools)
        except TemplateError:
            return None

    def _answers(
        self, render: Render, messages: Sequence[Message], tools: Sequence[JSON], first: int, text: str, mark: str
    ) -> list[_Answer]:
        """Where the assistant's turns begin and end in the rendered text; those from number `first` on carry loss.

        Found by rendering prefixes, which are what inference sees. A turn without loss that cannot be found so is left
        in the text around it.
        """
        answers: list[_Answer] = []
        for turn, message in enumerate(messages):
            if message.role != ASSISTANT:
                continue
            try:
                answers.append(_Answer(*self._turn(render, messages[: turn + 1], text, mark), turn >= first))
            except TemplateError:
                if turn >= first:
                    raise
        return answers

    def _marked_answers(
        self,
        messages: Sequence[Message],
        tools: Sequence[JSON],
        first: int,
        text: str,
        add_generation_prompt: bool,
    ) -> list[_Answer]:
        """What the template itself marks with `{% generation %}`, blocks without a gap between them as one."""
        held = [_without_marks(message) for message in messages]
        spans = self._template.generation_spans(held, add_generation_prompt=add_generation_prompt, tools=tools)
        before = 0
        if 0 < first < len(messages):
            prompt = self._template.render(messages[:first], add_generation_prompt=True, tools=tools)
            if not text.startswith(prompt):
                raise self._unstable(first, "the prompt for it is not how the turn begins")
            before = len(prompt)
        answers: list[_Answer] = []
        for start, end in spans:
            has_loss = first < len(messages) and end > before
            if answers and answers[-1].end == start and answers[-1].has_loss == has_loss:
                start = answers.pop().start
            answers.append(_Answer(start, end, has_loss))
        return answers

    def _turn(self, render: Render, turns: Sequence[Message], text: str, mark: str) -> tuple[int, int]:
        start = self._turn_start(render, turns[:-1], text)
        if turns[-1].tool_calls:
            return start, self._calls_end(render, turns, start, text)
        return start, self._turn_end(render, turns, text, mark)

    def _turn_start(self, render: Render, before: Sequence[Message], text: str) -> int:
        prompt = render(before, add_generation_prompt=True)
        if not text.startswith(prompt):
            raise self._unstable(len(before), "the prompt for it is not how the turn begins")
        return len(prompt)

    def _turn_end(self, render: Render, turns: Sequence[Message], text: str, mark: str) -> int:
        content = turns[-1].content
        words = content.rstrip()
        marked = replace(turns[-1], content=words + mark + content[len(words) :])
        head, found, tail = render([*turns[:-1], marked]).partition(mark)
        if not found or not text.startswith(head):
            raise self._unstable(len(turns) - 1, "its content changes when more turns follow")
        specials = self._find_special(tail)
        if not specials or not text.startswith(head + tail[: specials[0].end]):
            return len(head)  # no end-of-turn token here: some templates write one behind the last turn only
        return len(head) + specials[0].end

    def _calls_end(self, render: Render, turns: Sequence[Message], start: int, text: str) -> int:
        """Behind the last special token of a turn: calls may be marked by some themselves, and words may be missing."""
        whole = render(turns)
        differing = (place for place, pair in enumerate(zip(whole, text, strict=False)) if pair[0] != pair[1])
        shared = next(differing, min(len(whole), len(text)))
        own = whole[start:shared]
        rest = whole[shared:]  # some templates write an end behind the last turn only
        for span in reversed(self._find_special(rest)):
            rest = rest[: span.start] + rest[span.end :]
        if rest.strip():
            raise self._unstable(len(turns) - 1, "its calls change when more turns follow")
        specials = self._find_special(own)
        return start + (specials[-1].end if specials else len(own.rstrip()))

    def _unstable(self, turn: int, reason: str) -> TemplateError:
        return TemplateError(
            f"template `{self._template.name}` does not show where the loss of message {turn} lies: {reason};"
            f" use {self._stable_template} or give one answer a sample",
            UNSTABLE,
        )

    @property
    def _stable_template(self) -> str:
        """What to use in place of a template that changes earlier turns."""
        if "</think>" in self._template.source and "<|im_start|>" in self._template.source:
            return "template `qwen3`, which keeps the thoughts of every answer,"
        return "a template that marks the assistant's words with `{% generation %}`"

    def _shielded(self, message: Message, shield: str) -> Message:
        calls = tuple(
            replace(call, arguments=self._break_all(dict(call.arguments), shield)) for call in message.tool_calls
        )
        return replace(message, content=self._break(message.content, shield), tool_calls=calls)

    def _break(self, text: str, shield: str) -> str:
        return self._special_start.sub(rf"\1{shield}", text)

    def _break_all(self, value: Any, shield: str) -> Any:
        """`_break` of every text in a JSON value."""
        match value:
            case str():
                return self._break(value, shield)
            case dict():
                members = cast("JSON", value)
                return {key: self._break_all(member, shield) for key, member in members.items()}
            case list():
                return [self._break_all(element, shield) for element in cast("list[Any]", value)]
            case _:
                return value


def _piece(text: str, has_loss: bool, shield: str) -> Piece:
    return Piece(text, has_loss, shield if shield in text else "")


def _without_marks(message: Message) -> Message:
    """The message with the characters that mark `{% generation %}` blocks replaced: its length stays."""
    plain = str.maketrans(dict.fromkeys((OPEN, CLOSE), NONCHARACTERS[0]))

    def replaced(value: Any) -> Any:
        match value:
            case str():
                return value.translate(plain)
            case dict():
                return {key: replaced(member) for key, member in cast("JSON", value).items()}
            case list():
                return list(map(replaced, cast("list[Any]", value)))
            case _:
                return value

    calls = tuple(replace(call, arguments=replaced(dict(call.arguments))) for call in message.tool_calls)
    return replace(message, content=replaced(message.content), tool_calls=calls)


def _shared_start(texts: Iterable[str]) -> str:
    """What all texts, sorted, begin with."""
    first, *rest = texts
    last = rest[-1] if rest else first
    size = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:size]


def _texts(message: Message) -> list[str]:
    """What people wrote in a message."""
    return [message.content, *(json.dumps(call.to_json(), ensure_ascii=False) for call in message.tool_calls)]


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
