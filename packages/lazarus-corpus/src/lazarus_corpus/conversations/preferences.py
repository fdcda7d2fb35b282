"""Preferences as `prompt`, `chosen` and `rejected`, from both published forms."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from lazarus_corpus.conversations.forms import tools_of
from lazarus_corpus.errors import SourceError

JSON = dict[str, Any]
_TURNS = (("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant"))
"""Marks of the turns in texts of the shared-prefix form (Bai et al. 2022, arXiv 2204.05862)."""

_ANSWERS = ("chosen", "rejected")


class Counts(NamedTuple):
    """What was read.

    Args:
        kept: Preferences that were kept.
        equal: Rows whose chosen and rejected answers are equal; they are dropped.
    """

    kept: int
    equal: int


def preference(row: JSON, place: str) -> JSON | None:
    """A row with `prompt`, `chosen` and `rejected` as lists of messages, and its `tools`; None if both answers are equal.

    Args:
        row: `prompt`, `chosen`, `rejected`; or `chosen` and `rejected` that begin with the same turns, as lists of messages or
            as texts with `Human:` and `Assistant:`.
        place: Its place, for messages.

    Raises:
        SourceError: The row is no preference.
    """
    if "prompt" in row:
        prompt = _messages(row["prompt"], "user", place)
        if prompt[-1] == {"role": "assistant", "content": ""}:  # `Assistant:` at the end of a text begins the answer
            prompt = prompt[:-1]
            row = {**row, **{name: row[name].strip() for name in _ANSWERS if _is_plain(row.get(name))}}
        chosen, rejected = (_messages(row.get(name), "assistant", place) for name in _ANSWERS)
        if chosen[: len(prompt)] == prompt and rejected[: len(prompt)] == prompt:  # both repeat the prompt
            chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    else:
        chosen, rejected = (_messages(row.get(name), "assistant", place) for name in _ANSWERS)
        shared = 0
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        if not prompt:
            raise SourceError(f"{place}: chosen and rejected share no turn, and there is no `prompt`", "LD-E108")
    if not chosen or not rejected:
        raise SourceError(f"{place}: chosen or rejected has no answer", "LD-E108")
    if chosen == rejected:
        return None
    name = {"id": str(row["id"])} if row.get("id") not in (None, "") else {}
    return {**name, "prompt": prompt, "chosen": chosen, "rejected": rejected, **tools_of(row)}


def preferences(rows: Iterable[tuple[JSON, str]], found: list[Counts]) -> Iterator[JSON]:
    """The preferences of rows, without those whose answers are equal.

    Args:
        rows: Rows with their places.
        found: Gets the counts after the last row.

    Raises:
        SourceError: A row is no preference.
    """
    kept = equal = 0
    for row, place in rows:
        made = preference(row, place)
        if made is None:
            equal += 1
        else:
            kept += 1
            yield made
    found.append(Counts(kept, equal))


def _is_plain(value: Any) -> bool:
    """Whether an answer is a text without marks of turns."""
    return isinstance(value, str) and not value.startswith(_TURNS[0][0])


def _messages(value: Any, role: str, place: str) -> list[JSON]:
    if isinstance(value, str):
        return _turns_of(value, place) if value.startswith(_TURNS[0][0]) else [{"role": role, "content": value}]
    found = cast("list[Any]", value) if isinstance(value, list) else []
    if found and all(isinstance(turn, dict) and "role" in turn for turn in found):
        return found
    raise SourceError(f"{place}: prompt, chosen and rejected must be texts or lists of messages", "LD-E108")


def _turns_of(text: str, place: str) -> list[JSON]:
    found: list[JSON] = []
    at = 0
    while at < len(text):
        mark, role = next(((mark, role) for mark, role in _TURNS if text.startswith(mark, at)), ("", ""))
        if not mark:
            raise SourceError(f"{place}: a turn begins with neither Human: nor Assistant:", "LD-E108")
        start = at + len(mark)
        ends = [end for other, _ in _TURNS if (end := text.find(other, start)) >= 0]
        at = min(ends, default=len(text))
        found.append({"role": role, "content": text[start:at].strip()})
    return found
