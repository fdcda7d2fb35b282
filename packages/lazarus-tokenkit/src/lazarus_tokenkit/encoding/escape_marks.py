"""Marks that a rendered template does not contain, and the texts of a message in which they could occur."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from lazarus_tokenkit.encoding.cached_render import NONCHARACTERS
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import JSON, Message
from lazarus_tokenkit.templates.sandbox import CLOSE, OPEN


def without_generation_marks(message: Message) -> Message:
    """Replaces the characters that mark `{% generation %}` blocks. The length of the message does not change."""
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
    reasoning = message.reasoning and replaced(message.reasoning)
    return replace(message, content=replaced(message.content), tool_calls=calls, reasoning=reasoning)


def message_texts(message: Message) -> list[str]:
    """Returns the texts of a message that come from the data."""
    reasoning = [message.reasoning] if message.reasoning else []
    return [
        message.content,
        *reasoning,
        *(json.dumps(call.to_json(), ensure_ascii=False) for call in message.tool_calls),
    ]


def free_noncharacters(contents: Sequence[str]) -> tuple[str, str]:
    """Returns two noncharacters that occur in no content: the escape mark and the end mark."""
    free = (mark for mark in NONCHARACTERS if not any(mark in content for content in contents))
    match list(islice(free, 2)):
        case [escape_mark, end_mark]:
            return escape_mark, end_mark
        case _:
            raise TemplateError(
                "the sample contains every noncharacter U+FDD0..U+FDEF; remove them: they are not text", "LT-E206"
            )
