"""Rewrites the texts of samples, and converts samples back to rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.preparation.numerals import Style, normalize_numbers
from lazarus_tokenkit.preparation.structures import inject_structures
from lazarus_tokenkit.preparation.system_message import add_system_message
from lazarus_tokenkit.samples.documents import NO_TEXT
from lazarus_tokenkit.samples.kinds import (
    JSON,
    ChatSample,
    CompletionSample,
    IdsSample,
    LabelledSample,
    Message,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
)
from lazarus_tokenkit.samples.read import Row
from lazarus_tokenkit.samples.useless import has_equal_answers

Rewrite = Callable[[str], str]


@dataclass(frozen=True)
class PreparedSample:
    """A rewritten sample.

    Args:
        sample: The sample with rewritten texts.
        structures: The original text of each structure token, in order.
        texts: Number of texts that changed.
        has_new_system: Whether the sample got the system message.
    """

    sample: Sample
    structures: tuple[str, ...]
    texts: int
    has_new_system: bool = False

    def to_json(self) -> JSON:
        """Returns the row for a JSON Lines file. Its member `structures` allows the original texts to be restored."""
        return to_row(self.sample) | ({"structures": list(self.structures)} if self.structures else {})


def prepare_samples(
    rows: Iterable[Row], numbers: Style | None, structures: tuple[str, ...], system: str | None = None
) -> Iterator[PreparedSample]:
    """Rewrites the texts of samples, and adds a system message. Preferences whose answers are equal are left out.

    Args:
        rows: Samples with their places.
        numbers: Format of numbers, or None to leave them unchanged.
        structures: Names of the structures to replace by tokens, keys of `structures.PATTERNS`.
        system: System message of conversations without one; it is rewritten like other texts. None adds none.

    Raises:
        SampleError: A text already contains the token of a structure, or a document cannot have the system message.
    """
    for row in rows:
        if has_equal_answers(row.sample):
            continue
        values: list[str] = []
        changed: list[bool] = []

        def rewrite(text: str, values: list[str] = values, changed: list[bool] = changed) -> str:
            injected = inject_structures(text, structures)  # before the numbers, so that addresses keep their digits
            values.extend(injected.values)
            rewritten = injected.text if numbers is None else normalize_numbers(injected.text, numbers)
            changed.append(rewritten != text)
            return rewritten

        try:
            full = row.sample if system is None else add_system_message(row.sample, system)
        except SampleError as error:
            raise SampleError(f"{row.place}: {error.message}", error.code) from error
        try:
            sample = map_texts(full, rewrite)
        except ValueError as error:
            raise SampleError(f"{row.place}: {error}", "LT-E315") from error
        yield PreparedSample(sample, tuple(values), sum(changed), full is not row.sample)


def map_texts(sample: Sample, rewrite: Rewrite) -> Sample:
    """Returns a copy of a sample with each text rewritten. Tool calls and tools are unchanged.

    >>> map_texts(CompletionSample("0", "a", "b"), str.upper)
    CompletionSample(id='0', prompt='A', completion='B')

    Args:
        sample: A sample of any kind.
        rewrite: Function from a text to its replacement, called in the order of the texts.
    """
    match sample:
        case IdsSample():
            raise SampleError(f"sample {sample.id!r} has token ids and no text", NO_TEXT)
        case TextSample():
            return replace(sample, text=rewrite(sample.text))
        case CompletionSample():
            return replace(sample, prompt=rewrite(sample.prompt), completion=rewrite(sample.completion))
        case PreferenceSample():
            prompt, chosen, rejected = (
                _rewritten(turns, rewrite) for turns in (sample.prompt, sample.chosen, sample.rejected)
            )
            return replace(sample, prompt=prompt, chosen=chosen, rejected=rejected)
        case LabelledSample():
            prompt, completion = (_rewritten(turns, rewrite) for turns in (sample.prompt, sample.completion))
            return replace(sample, prompt=prompt, completion=completion)
        case ChatSample() | PromptSample():
            return replace(sample, messages=_rewritten(sample.messages, rewrite))


def to_row(sample: Sample) -> JSON:
    """Returns a row that `read_samples` reads as this sample.

    >>> to_row(TextSample("7", "hello"))
    {'id': '7', 'text': 'hello'}
    """
    match sample:
        case IdsSample():
            masked = {} if sample.loss_mask is None else {"loss_mask": list(sample.loss_mask)}
            return {"id": sample.id, "input_ids": sample.ids.tolist()} | masked
        case TextSample():
            members: dict[str, Any] = {"text": sample.text}
        case CompletionSample():
            members = {"prompt": sample.prompt, "completion": sample.completion}
        case PreferenceSample():
            parts = {"prompt": sample.prompt, "chosen": sample.chosen, "rejected": sample.rejected}
            members = {name: _messages(turns) for name, turns in parts.items()}
        case LabelledSample():
            members = {"prompt": _messages(sample.prompt), "completion": _messages(sample.completion)}
            members["label"] = sample.label
        case ChatSample():
            members = {"messages": _messages(sample.messages)}
        case PromptSample():
            members = {"prompt": _messages(sample.messages)}
    tools = () if isinstance(sample, TextSample | CompletionSample) else sample.tools
    return {"id": sample.id, **members} | ({"tools": list(tools)} if tools else {})


def _rewritten(turns: tuple[Message, ...], rewrite: Rewrite) -> tuple[Message, ...]:
    return tuple(
        replace(turn, reasoning=turn.reasoning and rewrite(turn.reasoning), content=rewrite(turn.content))
        for turn in turns
    )


def _messages(turns: tuple[Message, ...]) -> list[JSON]:
    return [turn.to_row() for turn in turns]
