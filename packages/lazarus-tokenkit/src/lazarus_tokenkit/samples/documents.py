"""Reads the plain texts of data files, without a chat template, as input of the metrics."""

from collections.abc import Iterable, Iterator

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import Paths
from lazarus_tokenkit.samples.kinds import (
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
from lazarus_tokenkit.samples.read import read_samples
from lazarus_tokenkit.samples.schemas import FieldNames

NO_TEXT = "LT-E327"
MAX_CHARACTERS = 10_000
"""Longer texts are split at line ends into documents of at least this size. Bootstrap intervals need many documents."""


def read_documents(paths: Paths, fields: FieldNames | None = None) -> Iterator[str]:
    """Yields the texts of data files. The parts of one sample are joined with a line feed.

    Args:
        paths: Data files in any form that `read_samples` reads.
        fields: Names of the fields, or None for the standard names.

    Raises:
        SampleError: A file or a row is invalid.
    """
    for sample in read_samples(paths, fields):
        yield from cut_document(sample_text(sample))


def as_documents(documents: Iterable[str]) -> Iterable[str]:
    """Returns an iterable of documents unchanged, and splits a single string as `cut_document` does.

    >>> list(as_documents("one text"))
    ['one text']
    """
    return cut_document(documents) if isinstance(documents, str) else documents


def sample_text(sample: Sample) -> str:
    """Returns the text of a sample, without roles and tool calls. Parts are joined with a line feed.

    Raises:
        SampleError: The sample has token ids and no text.
    """
    match sample:
        case TextSample():
            return sample.text
        case IdsSample():
            raise SampleError(
                f"sample {sample.id!r} has token ids and no text; give the data that they were made from", NO_TEXT
            )
        case CompletionSample():
            return f"{sample.prompt}\n{sample.completion}"
        case ChatSample() | PromptSample():
            return _joined(sample.messages)
        case PreferenceSample():
            return _joined((*sample.prompt, *sample.chosen, *sample.rejected))
        case LabelledSample():
            return _joined((*sample.prompt, *sample.completion))


def _joined(turns: Iterable[Message]) -> str:
    return "\n".join(text for turn in turns for text in (turn.reasoning, turn.content) if text is not None)


def cut_document(text: str) -> Iterator[str]:
    """Splits a long text at line ends. The parts joined give the text.

    >>> [len(part) for part in cut_document(("x" * 99 + chr(10)) * 250)]
    [10000, 10000, 5000]
    """
    start = 0
    while len(text) - start > MAX_CHARACTERS:
        end = text.find("\n", start + MAX_CHARACTERS - 1) + 1
        if not end:
            break
        yield text[start:end]
        start = end
    if start < len(text) or not text:
        yield text[start:]
