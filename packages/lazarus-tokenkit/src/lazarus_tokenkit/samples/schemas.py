"""The forms of rows, and the conversion of a row to a sample. The first row decides the form of all rows. A
later row with a field that would make it another form is refused.

```
messages      messages: [{"role", "content"}] or [{"from", "value"}]; also named `conversations`; optional `tools`
preference    prompt, chosen, rejected: texts or messages; without prompt, chosen and rejected begin with equal turns
alpaca        instruction, input, output
completion    prompt, completion: texts or messages
labelled      prompt, completion, label: true or false; only if the label's field is named
prompt        prompt
text          text
ids           input_ids, optional labels, loss_mask or mask: token ids of another program
```
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import Literal

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import kind
from lazarus_tokenkit.samples.ids import read_ids
from lazarus_tokenkit.samples.kinds import (
    ASSISTANT,
    JSON,
    ChatSample,
    CompletionSample,
    LabelledSample,
    Message,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
)
from lazarus_tokenkit.samples.messages import read_messages, read_tools, read_turns, text_of, without_space

Form = Literal["text", "messages", "completion", "labelled", "alpaca", "preference", "prompt", "ids"]


@dataclass(frozen=True)
class FieldNames:
    """Names of the fields to read. If all are None, the standard names apply.

    Args:
        text: Field of a document.
        messages: Field of a conversation, a list of `{"role": .., "content": ..}` or of `{"from": .., "value": ..}`.
        prompt: Field of a prompt. Without `completion`, the answer is in the field `completion`.
        completion: Field of an answer. Without `prompt`, the prompt is in the field `prompt`.
        chosen: Field of the better of two answers. Without `rejected`, the worse answer is in the field `rejected`.
        rejected: Field of the worse of two answers. Without `chosen`, the better answer is in the field `chosen`.
        input: Field of text that is appended to the prompt and may be empty, as Alpaca's `input`.
        label: Field that states whether an answer is desirable. Without `completion`, the answer is in `completion`.
        ids: Field of token ids.

    Raises:
        SampleError: The names belong to more than one kind of sample.
    """

    text: str | None = None
    messages: str | None = None
    prompt: str | None = None
    completion: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    input: str | None = None
    label: str | None = None
    ids: str | None = None

    def __post_init__(self) -> None:
        answers = any(each is not None for each in (self.completion, self.input, self.label))
        pair = (self.chosen or self.rejected) is not None
        kinds = [
            self.ids is not None,
            self.text is not None,
            self.messages is not None,
            answers or pair or self.prompt is not None,
        ]
        if sum(kinds) > 1 or (answers and pair):
            raise SampleError(
                "`text`, `messages`, and `prompt` with `completion` or with `chosen` and `rejected` are different kinds of"
                " samples: name the fields of one kind",
                "LT-E301",
            )

    @property
    def form(self) -> Form:
        """The form of rows that these resolved names read."""
        if self.ids is not None:
            return "ids"
        if self.text is not None:
            return "text"
        if self.messages is not None:
            return "messages"
        if self.chosen is not None:
            return "preference"
        if self.label is not None:
            return "labelled"
        if self.input is not None:
            return "alpaca"
        return "prompt" if self.completion is None else "completion"

    def resolve(self, row: JSON) -> "FieldNames | None":
        """Fills in the standard names for a row. Fields that are null are absent. Returns None without known fields."""
        if self.text is not None or self.messages is not None or self.ids is not None:
            return self
        if self.chosen is not None or self.rejected is not None:
            return replace(self, chosen=self.chosen or "chosen", rejected=self.rejected or "rejected")
        if self.prompt is not None or self.completion is not None or self.label is not None:
            return replace(self, prompt=self.prompt or "prompt", completion=self.completion or "completion")
        present = {name for name, value in row.items() if value is not None}
        found = _standard(present)
        if found is None:
            return _standard(row.keys())  # the error then names the field that is null
        # A prompt with a null answer has an answer that is missing. It must not become a prompt without loss.
        return found if found.form != "prompt" else _standard(present | (row.keys() & ANSWERS_OF_PROMPTS))


STANDARD: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (("messages",), {"messages": "messages"}),
    (("conversations",), {"messages": "conversations"}),
    (("prompt", "chosen", "rejected"), {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
    (("chosen", "rejected"), {"chosen": "chosen", "rejected": "rejected"}),
    (("prompt", "completion"), {"prompt": "prompt", "completion": "completion"}),
    (("instruction", "output"), {"prompt": "instruction", "input": "input", "completion": "output"}),
    (("text",), {"text": "text"}),
    (("prompt",), {"prompt": "prompt"}),
    (("input_ids",), {"ids": "input_ids"}),
)
"""Fields that identify a form, in search order, with the names to read."""
ANSWERS_OF_PROMPTS = {"completion", "chosen", "rejected"}
"""Standard fields that follow a prompt."""
_DECIDING = tuple(dict.fromkeys(name for names, _ in STANDARD for name in names))


def absent_fields(row: JSON) -> frozenset[str]:
    """The standard fields that a row lacks or that are null, of which one may make another row another form."""
    return frozenset(name for name in _DECIDING if row.get(name) is None)


def deciding_fields(row: JSON, first: JSON, wanted: FieldNames) -> list[str]:
    """The fields that make a row another form than the first row, which lacks them; none if both have one form.

    >>> deciding_fields({"prompt": "2 + 2", "completion": "4"}, {"prompt": "1 + 1"}, FieldNames())
    ['completion']

    Args:
        row: A row that can be read in the form of the first row.
        first: The first row.
        wanted: Names of the fields; if they are given, they decide alone.
    """
    own, decided = wanted.resolve(row), wanted.resolve(first)
    if own is None or decided is None or own == decided:
        return []
    read = {getattr(own, each.name) for each in fields(own)}
    absent = absent_fields(first)
    return [name for name in _DECIDING if name in row and name in read and name in absent]


def _standard(present: Set[str]) -> FieldNames | None:
    """Returns the standard names of the first form whose fields are all present."""
    return next((FieldNames(**read) for names, read in STANDARD if present >= set(names)), None)


def to_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    """Converts a row to a sample.

    Args:
        row: The fields.
        names: Resolved names, see `FieldNames.resolve`.
        sample_id: Id of the sample.

    Raises:
        SampleError: A field is missing or has the wrong type. The message names the field, not the file and line.
    """
    return sample_maker(names)(row, sample_id)


def sample_maker(names: FieldNames) -> Callable[[JSON, str], Sample]:
    """Returns a function from row and id to sample, for many rows of one form."""
    make = _FORMS[names.form]
    return lambda row, sample_id: make(row, names, sample_id)


def _text_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    return TextSample(sample_id, text_of(row, names.text or ""))


def _chat_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    name = names.messages or ""
    messages = read_messages(row, name)
    if not any(message.role == ASSISTANT for message in messages):
        raise SampleError(f"`{name}` has no message of role `{ASSISTANT}`, so no token carries loss", "LT-E313")
    _refuse_without_loss(messages, name)
    system = row.get("system")
    if isinstance(system, str) and system and messages[0].role != "system":
        messages = (Message("system", system), *messages)
    return ChatSample(sample_id, messages, read_tools(row))


def _completion_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    assert names.prompt is not None and names.completion is not None, "resolved"
    if isinstance(row.get(names.prompt), list) or isinstance(row.get(names.completion), list):
        return _answered_sample(row, names.prompt, names.completion, sample_id)
    return CompletionSample(sample_id, text_of(row, names.prompt), text_of(row, names.completion))


def _answered_sample(row: JSON, prompt_name: str, completion_name: str, sample_id: str) -> ChatSample:
    """Converts a prompt and an answer of which one or both are messages. The turns of the prompt carry no loss."""
    prompt, completion = read_turns(row, prompt_name, "user"), read_turns(row, completion_name, ASSISTANT)
    if not prompt:
        raise SampleError(f"`{prompt_name}` is empty: an answer needs a prompt", "LT-E313")
    if not completion or completion[-1].role != ASSISTANT:
        raise SampleError(f"`{completion_name}` does not end with an answer of role `{ASSISTANT}`", "LT-E313")
    _refuse_without_loss(completion, completion_name)
    prompt = tuple(replace(turn, has_loss=turn.role != ASSISTANT) for turn in prompt)
    return ChatSample(sample_id, (*prompt, *completion), read_tools(row))


def _refuse_without_loss(turns: Sequence[Message], name: str) -> None:
    if not any(turn.role == ASSISTANT and turn.has_loss for turn in turns):
        raise SampleError(
            f"`{name}` has only answers of `weight` 0, so no token carries loss; remove the row", "LT-E313"
        )


def _labelled_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    assert names.prompt is not None and names.completion is not None and names.label is not None, "resolved"
    row = without_space(row, names.prompt, (names.completion,))
    prompt, completion = read_turns(row, names.prompt, "user"), read_turns(row, names.completion, ASSISTANT)
    if not completion or completion[-1].role != ASSISTANT:
        raise SampleError(f"`{names.completion}` does not end with an answer of role `{ASSISTANT}`", "LT-E313")
    if not prompt:
        raise SampleError(f"`{names.prompt}` is empty: an answer needs a prompt", "LT-E313")
    _refuse_without_loss(completion, names.completion)
    label = row.get(names.label)
    if not isinstance(label, bool):
        found = f"is {kind(label)}" if names.label in row else "is missing"
        raise SampleError(
            f"`{names.label}` {found}: give true for a desirable answer, false for an undesirable one", "LT-E312"
        )
    return LabelledSample(sample_id, prompt, completion, label, read_tools(row))


def _alpaca_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    prompt, completion = text_of(row, names.prompt or ""), text_of(row, names.completion or "")
    given = row.get(names.input or "")
    if given is not None and not isinstance(given, str):
        raise SampleError(f"`{names.input}` is {kind(given)}, not a text", "LT-E312")
    return CompletionSample(sample_id, f"{prompt}\n\n{given}" if given else prompt, completion)


ANSWERS = ("response", "output", "answer", "solution", "target", "reply", "completions", "chosen", "rejected")
"""Common names of answer fields. A row that is read as a prompt without an answer must have none of them."""


def _refuse_unread_answer(row: JSON, name: str) -> None:
    """Refuses a row whose answer would be ignored, because then no token of the row would carry loss."""
    for field in ANSWERS:
        if row.get(field):
            raise SampleError(
                f"`{name}` would be read without an answer, because there is no field `completion`; name `{field}` as the"
                " `completion` field, or remove it from the data to read prompts without answers",
                "LT-E317",
            )


def _prompt_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    _refuse_unread_answer(row, names.prompt or "")
    return PromptSample(sample_id, read_turns(row, names.prompt or "", "user"), read_tools(row))


def _preference_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    assert names.chosen is not None and names.rejected is not None, "resolved"
    row = without_space(row, names.prompt or "", (names.chosen, names.rejected))
    answers = [read_turns(row, name, ASSISTANT) for name in (names.chosen, names.rejected)]
    if names.prompt is not None:
        prompt = read_turns(row, names.prompt, "user")
        # Some data sets repeat the prompt before both answers.
        answers = [turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns for turns in answers]
    else:
        shared = _shared(*answers)
        prompt, answers = answers[0][:shared], [turns[shared:] for turns in answers]
    for name, turns in zip((names.chosen, names.rejected), answers, strict=True):
        if not turns or turns[-1].role != ASSISTANT:
            raise SampleError(f"`{name}` does not end with an answer of role `{ASSISTANT}`", "LT-E313")
        _refuse_without_loss(turns, name)
    if not prompt:
        raise SampleError(
            f"`{names.chosen}` and `{names.rejected}` do not begin with the same prompt; name the prompt's field",
            "LT-E313",
        )
    return PreferenceSample(sample_id, prompt, answers[0], answers[1], read_tools(row))


def _shared(first: tuple[Message, ...], second: tuple[Message, ...]) -> int:
    """Returns the number of equal first turns. The last turn of each answer never counts."""
    count = 0
    while count < min(len(first), len(second)) - 1 and first[count] == second[count]:
        count += 1
    return count


def _ids_sample(row: JSON, names: FieldNames, sample_id: str) -> Sample:
    return read_ids(row, names.ids or "", sample_id)


_FORMS: Mapping[Form, Callable[[JSON, FieldNames, str], Sample]] = {
    "text": _text_sample,
    "messages": _chat_sample,
    "completion": _completion_sample,
    "labelled": _labelled_sample,
    "alpaca": _alpaca_sample,
    "preference": _preference_sample,
    "prompt": _prompt_sample,
    "ids": _ids_sample,
}
