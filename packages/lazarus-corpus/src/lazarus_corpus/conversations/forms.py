"""Rows of public data sets as messages. A form is one function and one line of `FORMS`.

dolly      `instruction`, `context`, `response`
alpaca     `instruction`, `input`, `output`
completion `prompt`, `completion`
question   `question`, `answer`
sharegpt   `conversations` of `from` and `value`
openai     `messages` of `role` and `content`
dialogue   `dialogue` or `turns`: texts, user and assistant in turn, or objects with a text
transcript `transcript`: a text with lines `system: ...`, `user: ...`, `assistant: ...`; other lines continue a turn
oasst      messages of trees (`message_id`, `parent_id`, `text`, `role`), one a row: each path from a root to a leaf
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from lazarus_corpus.errors import SourceError

JSON = dict[str, Any]
Messages = list[dict[str, Any]]
_TURN = re.compile(r"^(system|user|assistant):", re.IGNORECASE | re.MULTILINE)
_BETWEEN = re.compile(r"^[ \t]*<dialogue>[ \t]*\r?$", re.MULTILINE)
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "prompt", "question"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "answer"), "assistant"),
    **dict.fromkeys(("system", "instruction"), "system"),
}


def from_dolly(row: JSON) -> Messages:
    """Messages of a row of Dolly.

    Args:
        row: The row.
    """
    return _asked(row, "instruction", "context", "response")


def from_alpaca(row: JSON) -> Messages:
    """Messages of a row of Alpaca.

    Args:
        row: The row.
    """
    return _asked(row, "instruction", "input", "output")


def from_completion(row: JSON) -> Messages:
    """Messages of a prompt and its completion.

    Args:
        row: The row.
    """
    return _asked(row, "prompt", "", "completion")


def from_question(row: JSON) -> Messages:
    """Messages of a question and its answer, as GSM8K has them.

    Args:
        row: The row.
    """
    return _asked(row, "question", "", "answer")


def from_sharegpt(row: JSON) -> Messages:
    """Messages of a row of ShareGPT.

    Args:
        row: The row.
    """
    found = [_message(turn, "from", "value") for turn in _turns(row, "conversations")]
    if isinstance(row.get("system"), str) and row["system"]:
        found.insert(0, {"role": "system", "content": row["system"]})
    return found


def from_openai(row: JSON) -> Messages:
    """Messages as they are; tool calls and other fields are kept.

    Args:
        row: The row.
    """
    return [{**turn, **_message(turn, "role", "content", any_role=True)} for turn in _turns(row, "messages")]


def from_dialogue(row: JSON) -> Messages:
    """Messages of a list of turns.

    Args:
        row: The row.
    """
    turns = row.get("dialogue" if "dialogue" in row else "turns")
    given: list[Any] = cast("list[Any]", turns) if isinstance(turns, list) else []
    return [_spoken(turn, place) for place, turn in enumerate(given)]


def _spoken(turn: Any, place: int) -> JSON:
    """A turn as a message. Without a speaker, user and assistant take turns."""
    role = ("user", "assistant")[place % 2]
    if isinstance(turn, str):
        return {"role": role, "content": turn}
    if not isinstance(turn, dict):
        raise ValueError(f"turn {place + 1} is neither a text nor an object")
    fields = cast("JSON", turn)
    text = _first_text(fields, ("text", "content", "value", "utterance"))
    if text is None:
        raise ValueError(f"turn {place + 1} has no text")
    speaker = _first_text(fields, ("role", "speaker", "from")) or role
    return {"role": _ROLES.get(speaker.lower(), role), "content": text}


def _first_text(fields: JSON, names: Iterable[str]) -> str | None:
    return next((value for name in names if isinstance(value := fields.get(name), str)), None)


def from_transcript(row: JSON) -> Messages:
    r"""Messages of a written conversation.

    >>> from_transcript({"transcript": "user: One?\nOr two?\nassistant: Two."})
    [{'role': 'user', 'content': 'One?\nOr two?'}, {'role': 'assistant', 'content': 'Two.'}]

    Args:
        row: The row.
    """
    text = row.get("transcript")
    if not isinstance(text, str):
        raise ValueError("`transcript` must be a text")
    begins = list(_TURN.finditer(text))
    before = text[: begins[0].start()] if begins else text
    if before.strip():
        raise ValueError(f"the first line is no turn: {before.strip().splitlines()[0][:60]!r}")
    ends = [turn.start() for turn in begins[1:]] + [len(text)]
    return [
        {"role": turn[1].lower(), "content": text[turn.end() : end].strip()}
        for turn, end in zip(begins, ends, strict=False)
    ]


def transcripts(text: str, name: str) -> Iterator[tuple[JSON, str]]:
    """Rows with a `transcript`, from a text with a line `<dialogue>` between conversations.

    Args:
        text: The text.
        name: Name of its file, for the places.

    Yields:
        Rows with their places, the lines where they begin.
    """
    line = 1
    for part in _BETWEEN.split(text):
        if part.strip():
            skipped = len(part) - len(part.lstrip())
            yield {"transcript": part}, f"{name}:{line + part.count(chr(10), 0, skipped)}"
        line += part.count("\n")


FORMS: dict[str, tuple[tuple[str, ...], Callable[[JSON], Messages]]] = {
    "dolly": (("instruction", "response"), from_dolly),
    "alpaca": (("instruction", "output"), from_alpaca),
    "completion": (("prompt", "completion"), from_completion),
    "question": (("question", "answer"), from_question),
    "sharegpt": (("conversations",), from_sharegpt),
    "openai": (("messages",), from_openai),
    "dialogue": (("dialogue",), from_dialogue),
    "turns": (("turns",), from_dialogue),
    "transcript": (("transcript",), from_transcript),
}
"""Form -> the fields that it needs, and its function."""
OASST = ("message_id", "parent_id", "text", "role")


def conversations(rows: Iterable[tuple[JSON, str]], form: str = "auto") -> Iterator[tuple[JSON, str]]:
    """Rows with `messages`, the `tools` and `group` that a row has, and a `group` where several come from one tree.

    Args:
        rows: Rows with their places.
        form: A name in `FORMS`, `oasst`, or `auto` for the form whose fields the first row has.

    Yields:
        Rows of `id` and `group` (if the row has one), `messages`, and `tools` (if the row has them), with their places.

    Raises:
        SourceError: A row is not of the form; the message names the place.
    """
    found = iter(rows)
    first = next(found, None)
    if first is None:
        return
    if form == "auto":
        form = form_of(*first)
        found = _of_one_form(found, form, first[1])
    if form == "oasst":
        yield from _threads([first, *found])
        return
    if form not in FORMS:
        raise SourceError(f"no form {form!r}; there are {', '.join((*FORMS, 'oasst'))}", "LD-E106")
    make = FORMS[form][1]
    for row, place in (first, *found):
        try:
            messages = make(row)
        except ValueError as error:
            raise SourceError(f"{place}: not of the form `{form}`: {error}", "LD-E106") from error
        if not any(message["role"] == "assistant" for message in messages):
            raise SourceError(f"{place}: the conversation has no answer of the assistant", "LD-E107")
        names = {name: str(row[name]) for name in ("id", "group") if row.get(name) not in (None, "")}
        yield {**names, "messages": messages, **tools_of(row)}, place


def tools_of(row: JSON) -> JSON:
    """The member `tools` of a row, which its chat template shows; nothing if it has none.

    Args:
        row: The row.
    """
    return {"tools": row["tools"]} if row.get("tools") else {}


def _of_one_form(rows: Iterable[tuple[JSON, str]], form: str, first: str) -> Iterator[tuple[JSON, str]]:
    """Refuses a row that would be another form if it were the first one: fields of it would not be read."""
    for row, place in rows:
        own = next(_forms_of(row), form)
        if _reader(own) != _reader(form):
            raise SourceError(
                f"{place}: of the form `{own}`, but the first row, {first}, is of the form `{form}`: give rows of one form, "
                f"or name the `form`, and its fields alone are read",
                "LD-E106",
            )
        yield row, place


def _reader(form: str) -> Callable[[JSON], Messages] | None:
    return FORMS[form][1] if form in FORMS else None


def form_of(row: JSON, place: str) -> str:
    """The form whose fields a row has.

    Args:
        row: The row.
        place: Its place, for the message.

    Raises:
        SourceError: It has the fields of no form.
    """
    own = next(_forms_of(row), None)
    if own is not None:
        return own
    shown = ", ".join(f"`{name}`" for name in list(row)[:8])
    raise SourceError(f"{place}: the fields {shown} are of no known form: {', '.join((*FORMS, 'oasst'))}", "LD-E106")


def _forms_of(row: JSON) -> Iterator[str]:
    """The forms whose fields a row has, the one that is taken first."""
    known = {"oasst": OASST, **{name: needed for name, (needed, _) in FORMS.items()}}
    return (name for name, needed in known.items() if all(field in row for field in needed))


def _asked(row: JSON, instruction: str, context: str, answer: str) -> Messages:
    asked, more, answered = (row.get(name) for name in (instruction, context, answer))
    if not isinstance(asked, str) or not isinstance(answered, str):
        raise ValueError(f"`{instruction}` and `{answer}` must be texts")
    question = f"{asked}\n\n{more}" if isinstance(more, str) and more.strip() else asked
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answered}]


def _turns(row: JSON, name: str) -> list[JSON]:
    turns = row.get(name)
    found: list[Any] = cast("list[Any]", turns) if isinstance(turns, list) else [None]
    if not all(isinstance(turn, dict) for turn in found):
        raise ValueError(f"`{name}` must be a list of objects")
    return found


def _message(turn: JSON, role: str, content: str, *, any_role: bool = False) -> JSON:
    given, text = turn.get(role), turn.get(content)
    if not isinstance(given, str) or not (isinstance(text, str) or (any_role and "tool_calls" in turn)):
        raise ValueError(f"a turn needs `{role}` and `{content}`")
    if any_role:
        return {"role": given, "content": text}
    if given.lower() not in _ROLES:
        raise ValueError(f"no role {given!r}")
    return {"role": _ROLES[given.lower()], "content": text}


def _threads(rows: list[tuple[JSON, str]]) -> Iterator[tuple[JSON, str]]:
    """Each path from a root to an answer without a reply of the assistant below it; trees and children by id."""
    by_id: dict[str, tuple[JSON, str]] = {}
    for row, place in rows:
        name, role, above = (row.get(field) for field in ("message_id", "role", "parent_id"))
        if not isinstance(name, str) or not isinstance(row.get("text"), str) or not isinstance(above, str | None):
            raise SourceError(f"{place}: `message_id`, `text` and `parent_id` of a message must be texts", "LD-E106")
        if not isinstance(role, str) or role not in _ROLES:
            raise SourceError(f"{place}: a message of a tree needs a known `role`", "LD-E106")
        if name in by_id:
            raise SourceError(f"{place}: the message {name!r} is there twice, first in {by_id[name][1]}", "LD-E106")
        if not row.get("deleted"):
            by_id[name] = row, place
    answered = _with_answers_below(by_id)
    for name in sorted(by_id):
        row, place = by_id[name]
        if _ROLES[row["role"]] != "assistant" or name in answered:  # a question, or part of a longer thread
            continue
        path = _path(by_id, name)
        if path:
            messages = [{"role": _ROLES[each["role"]], "content": each["text"]} for each in path]
            yield {"id": name, "group": str(path[0]["message_id"]), "messages": messages}, place


def _path(by_id: dict[str, tuple[JSON, str]], name: str) -> list[JSON]:
    """The messages from the root to one; none if a message above it is missing."""
    path: list[JSON] = []
    at: Any = name
    while at is not None:
        if at not in by_id or len(path) > len(by_id):
            return []
        path.append(by_id[at][0])
        at = by_id[at][0].get("parent_id")
    return path[::-1]


def _with_answers_below(by_id: dict[str, tuple[JSON, str]]) -> set[str]:
    """The messages with a message of the assistant somewhere below them."""
    found: set[str] = set()
    for row, _ in by_id.values():
        if _ROLES[row["role"]] == "assistant":
            above: Any = row.get("parent_id")
            while above in by_id and above not in found:
                found.add(above)
                above = by_id[above][0].get("parent_id")
    return found
