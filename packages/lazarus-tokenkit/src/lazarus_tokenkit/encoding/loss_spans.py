"""Finds the spans of a rendered conversation that carry loss, and splits the text there.

An assistant turn starts where its prompt ends. The prompt is the text of the earlier turns, rendered with the generation
prompt. The turn ends with its end-of-turn token. Both sides of a split are encoded separately, so the ids before an
answer equal the ids that inference starts from. A template with `{% generation %}` blocks is split at these blocks
instead. Turns without loss are split too: a conversation then has the same ids as a sample, as the start of a longer
sample and as a prompt.

Unicode reserves U+FDD0..U+FDEF for internal use, so text does not contain them. Two of these characters are put into the
message contents before rendering:

- The escape mark breaks up special-token text inside the contents. Only the template's own special tokens remain.
- The end mark shows where a content ends. The first special token after it is the end-of-turn token, even if the
  template trims the content.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, cast

from lazarus_tokenkit.encoding.cached_render import NONCHARACTERS, PLACEHOLDER, CachedRender, Piece
from lazarus_tokenkit.encoding.dropped_members import Rendered, refuse_dropped_members
from lazarus_tokenkit.encoding.escape_marks import free_noncharacters, message_texts, without_generation_marks
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import ASSISTANT, JSON, Message
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizers.protocol import SpecialSpan, Tokenizer

Render = Callable[..., str]
EXCHANGE = ("user", ASSISTANT)
"""Roles of a prompt with one answer."""
EXCHANGE_SHAPE = EXCHANGE, (True, True), 0, False
"""Key of a cached render: roles, `has_loss` of each turn, first turn with loss, whether the generation prompt is added."""
UNSTABLE = "LT-E205"
"""Error code of a template that renders earlier turns differently when more turns follow."""


class _Answer(NamedTuple):
    """Half-open character range of an assistant turn in the rendered text, and whether the turn carries loss."""

    start: int
    end: int
    has_loss: bool


class SpanFinder:
    """Splits texts and conversations into pieces with and without loss, for one tokenizer and one template."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        """Compiles the search patterns of the tokenizer's special tokens.

        Args:
            tokenizer: Gives the special tokens.
            template: Renders the conversations.
        """
        self._template = template
        self._find_special: Callable[[str], list[SpecialSpan]] = tokenizer.special_spans
        texts = sorted(tokenizer.special_tokens, key=len, reverse=True)
        # A special token's text or a noncharacter. Without special tokens, `(?!)` matches nothing.
        self._reserved = re.compile(
            f"{'|'.join(map(re.escape, texts)) or '(?!)'}|[{NONCHARACTERS[0]}-{NONCHARACTERS[-1]}]"
        )
        # Common prefixes of the special tokens, one for each first character: a fast test before the regular expression.
        self._prefixes = tuple(_common_prefix(group) for _, group in groupby(sorted(texts), itemgetter(0)))
        self._cached_renders: dict[tuple[tuple[str, ...], tuple[bool, ...], int, bool], CachedRender] = {}
        # Matches the first character of a special token's text, so that an escape mark can follow it.
        self._special_start = re.compile(f"(?=(?:{'|'.join(map(re.escape, texts)) or '(?!)'}))(.)", re.DOTALL)

    @cached_property
    def _is_content_independent(self) -> bool:
        return self._template.is_content_independent

    def text(self, text: str) -> Piece:
        """Returns a document as one piece. All of it carries loss, and none of it is parsed as a special token."""
        if not self._is_reserved(text):
            return Piece(text, True)
        escape_mark, _ = free_noncharacters([text])
        return _piece(self._escape(text, escape_mark), True, escape_mark)

    def conversation(
        self,
        messages: Sequence[Message],
        tools: Sequence[JSON] = (),
        *,
        add_generation_prompt: bool = False,
        has_loss: bool = True,
    ) -> list[Piece]:
        """Splits a conversation. The joined texts, without escape marks, equal the template's output.

        Args:
            messages: The turns.
            tools: JSON schemas of the functions that the assistant may call.
            add_generation_prompt: Whether the header of the next assistant turn is added at the end.
            has_loss: Whether the assistant turns carry loss.

        Raises:
            TemplateError: The template renders a turn differently when more turns follow.
        """
        return self._pieces(messages, tools, 0 if has_loss else len(messages), add_generation_prompt)

    def exchange(self, prompt: str, completion: str) -> list[Piece]:
        """Splits a conversation of one prompt and one answer.

        Args:
            prompt: Content of the user's turn.
            completion: Content of the assistant's turn. It carries loss.
        """
        contents = prompt, completion
        if self._is_content_independent and not self._is_reserved(prompt) and not self._is_reserved(completion):
            cached = self._cached_renders.get(EXCHANGE_SHAPE)
            if cached is not None:
                return cached.fill(contents)
        return self.conversation([Message(*turn) for turn in zip(EXCHANGE, contents, strict=True)])

    def answer(self, prompt: Sequence[Message], answer: Sequence[Message], tools: Sequence[JSON] = ()) -> list[Piece]:
        """Splits a conversation in which only the assistant turns of `answer` carry loss.

        Args:
            prompt: The turns before the answer.
            answer: The turns of the answer.
            tools: JSON schemas of the functions that the assistant may call.
        """
        return self._pieces([*prompt, *answer], tools, len(prompt), False)

    def _pieces(
        self, messages: Sequence[Message], tools: Sequence[JSON], first: int, add_generation_prompt: bool
    ) -> list[Piece]:
        """Splits a conversation. Assistant turns from number `first` on carry loss, except those with `has_loss` false."""
        contents = [message.content for message in messages]
        if not tools and self._is_content_independent and self._are_plain(messages, contents):
            roles, flags = (
                tuple(message.role for message in messages),
                tuple(message.has_loss for message in messages),
            )
            cached = self._cached_renders.get(key := (roles, flags, first, add_generation_prompt))
            if cached is None:
                cached = self._cached_renders[key] = self._make_cached_render(messages, first, add_generation_prompt)
            return cached.fill(contents)
        return self._cut(messages, tools, first, add_generation_prompt)

    def _are_plain(self, messages: Sequence[Message], contents: Sequence[str]) -> bool:
        """Whether the messages have only roles and contents, without special-token text and noncharacters."""
        if any(each.tool_calls or each.name or each.tool_call_id or each.reasoning for each in messages):
            return False
        return not any(map(self._is_reserved, contents))

    def _is_reserved(self, text: str) -> bool:
        """Whether a text contains special-token text or a noncharacter."""
        if text.isascii():  # ASCII text has no noncharacter, so the common prefixes decide most texts
            for start in self._prefixes:
                if start in text:
                    break
            else:
                return False
        return self._reserved.search(text) is not None

    def _make_cached_render(self, messages: Sequence[Message], first: int, add_generation_prompt: bool) -> CachedRender:
        """Renders and splits the conversation once, with placeholders in place of the contents."""
        places = [f"{PLACEHOLDER}{number}{PLACEHOLDER}" for number in range(len(messages))]
        placeholder_messages = [
            Message(message.role, place, has_loss=message.has_loss)
            for message, place in zip(messages, places, strict=True)
        ]
        return CachedRender.of(self._cut(placeholder_messages, (), first, add_generation_prompt))

    def _cut(
        self, messages: Sequence[Message], tools: Sequence[JSON], first: int, add_generation_prompt: bool
    ) -> list[Piece]:
        escape_mark, end_mark = free_noncharacters([text for message in messages for text in message_texts(message)])
        messages = [self._escaped(message, escape_mark) for message in messages]
        render = partial(self._template.render, tools=tools)
        text = render(messages, add_generation_prompt=add_generation_prompt)
        refuse_dropped_members(self._template, Rendered(messages, tools, add_generation_prompt, text), first)
        # The answers are disjoint and in order: each is one piece, and the text between two answers is another.
        pieces: list[Piece] = []
        done = 0
        if self._template.has_generation_blocks:
            answers = self._marked_answers(messages, tools, first, text, add_generation_prompt)
        else:
            answers = self._answers(render, messages, tools, first, text, end_mark)
        for start, end, has_loss in answers:
            pieces += [_piece(text[done:start], False, escape_mark), _piece(text[start:end], has_loss, escape_mark)]
            done = end
        pieces.append(_piece(text[done:], False, escape_mark))
        return [piece for piece in pieces if piece.text]

    def _answers(
        self, render: Render, messages: Sequence[Message], tools: Sequence[JSON], first: int, text: str, mark: str
    ) -> list[_Answer]:
        """Finds the assistant turns in the rendered text. Turns from number `first` on carry loss if they have loss.

        The turns are found by rendering prefixes of the conversation, as inference does. A turn without loss that is
        not found this way remains part of the surrounding text.
        """
        answers: list[_Answer] = []
        for turn, message in enumerate(messages):
            if message.role != ASSISTANT:
                continue
            has_loss = turn >= first and message.has_loss
            try:
                answers.append(_Answer(*self._turn(render, messages[: turn + 1], text, mark), has_loss))
            except TemplateError:
                if has_loss:
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
        """Returns the template's `{% generation %}` blocks. Adjacent blocks with equal loss become one."""
        unmarked = [without_generation_marks(message) for message in messages]
        spans = self._template.generation_spans(unmarked, add_generation_prompt=add_generation_prompt, tools=tools)
        # Blocks that end inside the prompt of turn `first` carry no loss.
        before = 0
        if 0 < first < len(messages):
            prompt = self._template.render(messages[:first], add_generation_prompt=True, tools=tools)
            if not text.startswith(prompt):
                raise self._unprompted(first)
            before = len(prompt)
        answers: list[_Answer] = []
        masked = self._masked_blocks(unmarked, tools, first, len(spans))
        for block, (start, end) in enumerate(spans):
            has_loss = first < len(messages) and end > before and block not in masked
            if answers and answers[-1].end == start and answers[-1].has_loss == has_loss:
                start = answers.pop().start
            answers.append(_Answer(start, end, has_loss))
        return answers

    def _masked_blocks(
        self, messages: Sequence[Message], tools: Sequence[JSON], first: int, num_blocks: int
    ) -> set[int]:
        """Returns the numbers of the `{% generation %}` blocks in turns without loss from turn `first` on.

        The blocks of a turn are those that the conversation up to this turn has in addition to the turns before.
        """
        masked = [turn for turn, each in enumerate(messages) if turn >= first and not each.has_loss]
        counts = {len(messages): num_blocks, 0: 0}

        def count(turns: int) -> int:
            if turns not in counts:
                counts[turns] = len(self._template.generation_spans(messages[:turns], tools=tools))
            return counts[turns]

        if any(not count(turn) <= count(turn + 1) <= num_blocks for turn in masked):
            raise self._unstable(masked[0], "its `{% generation %}` blocks change when more turns follow")
        return {block for turn in masked for block in range(count(turn), count(turn + 1))}

    def _turn(self, render: Render, turns: Sequence[Message], text: str, mark: str) -> tuple[int, int]:
        start = self._turn_start(render, turns[:-1], text)
        if turns[-1].tool_calls:
            return start, self._calls_end(render, turns, start, text)
        return start, self._turn_end(render, turns, text, mark)

    def _turn_start(self, render: Render, before: Sequence[Message], text: str) -> int:
        prompt = render(before, add_generation_prompt=True)
        if not text.startswith(prompt):
            raise self._unprompted(len(before))
        return len(prompt)

    def _turn_end(self, render: Render, turns: Sequence[Message], text: str, mark: str) -> int:
        # The mark goes before trailing white space: a template that trims the content must not remove the mark.
        content = turns[-1].content
        words = content.rstrip()
        marked = replace(turns[-1], content=words + mark + content[len(words) :])
        head, found, tail = render([*turns[:-1], marked]).partition(mark)
        if not found or not text.startswith(head):
            raise self._unstable(len(turns) - 1, "its content changes when more turns follow")
        # The first special token after the content is the end-of-turn token, if the whole text has it there too.
        specials = self._find_special(tail)
        if not specials or not text.startswith(head + tail[: specials[0].end]):
            return len(head)  # no end-of-turn token: some templates write one only after the last turn
        return len(head) + specials[0].end

    def _calls_end(self, render: Render, turns: Sequence[Message], start: int, text: str) -> int:
        """Returns the end of a turn with tool calls: the end of its last special token.

        The end mark does not work here: calls may use special tokens themselves, and the content may be empty. The end
        of the text that both renderings share limits the search instead.
        """
        whole = render(turns)
        # `shared` is the length of the common prefix of the rendering up to this turn and the whole text.
        differing = (place for place, pair in enumerate(zip(whole, text, strict=False)) if pair[0] != pair[1])
        shared = next(differing, min(len(whole), len(text)))
        own = whole[start:shared]
        rest = whole[shared:]  # some templates write an end-of-turn token only after the last turn
        # Apart from special tokens and white space, the whole text must contain the complete turn.
        for span in reversed(self._find_special(rest)):
            rest = rest[: span.start] + rest[span.end :]
        if rest.strip():
            raise self._unstable(len(turns) - 1, "its calls change when more turns follow")
        specials = self._find_special(own)
        return start + (specials[-1].end if specials else len(own.rstrip()))

    def _unstable(self, turn: int, reason: str) -> TemplateError:
        return TemplateError(
            f"template `{self._template.name}` does not determine which tokens of message {turn} carry loss: {reason};"
            f" use {self._stable_template} or split the conversation into samples with one answer each",
            UNSTABLE,
        )

    def _unprompted(self, turn: int) -> TemplateError:
        return TemplateError(
            f"template `{self._template.name}` does not determine which tokens of message {turn} carry loss: the turn does"
            " not begin with its generation prompt; write the same text before every answer, or mark the assistant's words"
            " with `{% generation %}`",
            UNSTABLE,
        )

    @property
    def _stable_template(self) -> str:
        """Names a replacement for a template that changes earlier turns."""
        if "</think>" in self._template.source and "<|im_start|>" in self._template.source:
            return "template `qwen3`, which keeps the thoughts of every answer,"
        return "a template that marks the assistant's words with `{% generation %}`"

    def _escaped(self, message: Message, escape_mark: str) -> Message:
        calls = tuple(
            replace(call, arguments=self._escape_json(dict(call.arguments), escape_mark)) for call in message.tool_calls
        )
        reasoning = message.reasoning and self._escape(message.reasoning, escape_mark)
        content = self._escape(message.content, escape_mark)
        return replace(message, content=content, tool_calls=calls, reasoning=reasoning)

    def _escape(self, text: str, escape_mark: str) -> str:
        return self._special_start.sub(rf"\1{escape_mark}", text)

    def _escape_json(self, value: Any, escape_mark: str) -> Any:
        """Applies `_escape` to every string in a JSON value."""
        match value:
            case str():
                return self._escape(value, escape_mark)
            case dict():
                members = cast("JSON", value)
                return {key: self._escape_json(member, escape_mark) for key, member in members.items()}
            case list():
                return [self._escape_json(element, escape_mark) for element in cast("list[Any]", value)]
            case _:
                return value


def _piece(text: str, has_loss: bool, escape_mark: str) -> Piece:
    return Piece(text, has_loss, escape_mark if escape_mark in text else "")


def _common_prefix(texts: Iterable[str]) -> str:
    """Returns the longest common prefix of sorted texts."""
    # In sorted order, the prefix that the first and the last text share is common to all.
    first, *rest = texts
    last = rest[-1] if rest else first
    size = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:size]
