"""Data files to the texts that metrics are taken of: what people wrote, without a template."""

from collections.abc import Iterable, Iterator

from lazarus_tokenkit.samples.files import Paths
from lazarus_tokenkit.samples.kinds import (
    ChatSample,
    CompletionSample,
    LabelledSample,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
)
from lazarus_tokenkit.samples.read import read_samples
from lazarus_tokenkit.samples.schemas import FieldNames

MAX_CHARACTERS = 10_000
"""A longer text is cut at line ends into documents of at least this much, so that intervals have documents to draw."""


def read_documents(paths: Paths, fields: FieldNames | None = None) -> Iterator[str]:
    """The texts of data files: of a sample of several parts, the parts with a line feed between."""
    for sample in read_samples(paths, fields):
        yield from cut_document(sample_text(sample))


def as_documents(documents: Iterable[str]) -> Iterable[str]:
    """Texts as they are; one text by itself as a file of it would be read, not letter by letter.

    >>> list(as_documents("one text"))
    ['one text']
    """
    return cut_document(documents) if isinstance(documents, str) else documents


def sample_text(sample: Sample) -> str:
    """What a sample says."""
    match sample:
        case TextSample():
            return sample.text
        case CompletionSample():
            return f"{sample.prompt}\n{sample.completion}"
        case ChatSample() | PromptSample():
            return "\n".join(message.content for message in sample.messages)
        case PreferenceSample():
            turns = (*sample.prompt, *sample.chosen, *sample.rejected)
            return "\n".join(message.content for message in turns)
        case LabelledSample():
            return "\n".join(message.content for message in (*sample.prompt, *sample.completion))


def cut_document(text: str) -> Iterator[str]:
    """A long text as several; joined, they are the text.

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
