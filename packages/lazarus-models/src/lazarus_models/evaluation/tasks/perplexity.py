"""Perplexity and bits per byte of texts, by a sliding window.

Every token is scored once, given up to `window` tokens before it: the first window scores all its tokens, each later one the last
`stride` of its tokens. All tokens count equally, also those of a short last window. No window contains tokens of two documents,
unless `join_documents` is set.

| metric | definition | baseline |
|---|---|---|
| `perplexity` | exp(nats / tokens) | V: all tokens are equally likely |
| `bits_per_byte` | nats / ln 2 / bytes of UTF-8 | log2(V) * tokens / bytes |

Perplexities of two tokenizers cannot be compared; bits per byte can.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.data import NO_ITEMS, bad_row, sampled
from lazarus_models.evaluation.log_likelihoods import first_context
from lazarus_models.evaluation.task import (
    Item,
    Metric,
    Progress,
    Subject,
    Task,
    TaskResult,
    TaskSettings,
    no_progress,
)
from lazarus_models.generation.prompt_scores import token_logprobs
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.vocabulary import check_ids
from lazarus_tokenkit.samples import TextSample, read_objects, read_rows

WINDOW = 2048
"""Default tokens of a window, if the model's context allows as many."""
BLOCK = 1024
"""Bytes of a block: items of texts with few documents."""
FEW = 30
"""With fewer documents, the items are blocks: a bootstrap of a few items has no use."""
MISFIT = "LM-E501"


class PerplexitySettings(TaskSettings, frozen=True):
    """Perplexity and bits per byte of texts."""

    kind: Literal["perplexity"] = "perplexity"
    window: Annotated[int, Field(ge=2, le=1 << 20)] | None = None
    """Tokens of a window [default: 2048, or the model's context if it is shorter]."""
    stride: PositiveInt | None = None
    """Tokens that a window scores [default: half of the window]."""
    scores_first: bool = True
    """Score the first token of a document, given the token that begins a text, or the one that ends it where there is none."""
    join_documents: bool = False
    """Let windows contain several documents, with the end-of-text token between them, which is not scored."""


class Document(NamedTuple):
    """A text with its tokens.

    Args:
        id: Id of the row.
        place: File and line.
        ids: Token ids.
        starts: First byte of each token, (N,).
        size: Bytes of UTF-8.
    """

    id: str
    place: str
    ids: list[int]
    starts: NDArray[np.int64]
    size: int


@dataclass(frozen=True)
class Losses:
    """The losses of a document's tokens.

    Args:
        document: The document.
        nats: Negative log-probability of each scored token, (N,) or, without the first token, (N - 1,).
        first: Place of the first scored token: 0 or 1.
    """

    document: Document
    nats: NDArray[np.float64]
    first: int


def measure_perplexity(subject: Subject, settings: PerplexitySettings) -> TaskResult:
    """Measures perplexity and bits per byte.

    Args:
        subject: The model.
        settings: Data and window.

    Raises:
        EvaluationError: A row is no text, or the window exceeds the model's context.
    """
    lm = subject.model
    documents = read_documents(lm, settings.data, settings)
    losses = document_losses(lm, documents, settings, subject.on_progress)
    items = loss_items(losses)
    tokens = sum(len(each.nats) for each in losses)
    size = sum(each.values["bits_per_byte"][1] for each in items)
    vocab = lm.config.vocab_size
    metrics = (
        Metric("perplexity", "perplexity", "lower", float(vocab), "uniform"),
        Metric("bits_per_byte", "mean", "lower", log(vocab) / log(2) * tokens / size, "uniform"),
    )
    window, stride = window_of(lm, settings)
    notes = {"documents": len(documents), "tokens": tokens, "bytes": int(size), "window": window, "stride": stride}
    return TaskResult(metrics, items, "documents" if len(losses) >= FEW else f"blocks of {BLOCK:,} bytes", notes)


def window_of(lm: LoadedModel, settings: PerplexitySettings) -> tuple[int, int]:
    """Tokens of a window, and its stride.

    Args:
        lm: The model.
        settings: Data and window.

    Raises:
        EvaluationError: The window exceeds the model's context, or the stride exceeds the window.
    """
    context = lm.config.max_position_embeddings
    window = settings.window or min(WINDOW, context or WINDOW)
    if context is not None and window > context:
        raise EvaluationError(f"`window` {window} exceeds the model's context of {context}; give a smaller one", MISFIT)
    stride = settings.stride or max(1, window // 2)
    if stride > window:
        raise EvaluationError(f"`stride` {stride} exceeds `window` {window}, so tokens would be left out", MISFIT)
    return window, stride


def read_documents(lm: LoadedModel, path: Path, settings: PerplexitySettings) -> list[Document]:
    """Reads and encodes the documents of a text file, of rows with `text`, or of a folder of texts.

    Args:
        lm: The model; its tokenizer encodes.
        path: The file or folder.
        settings: `limit` and `seed` of the sample.

    Raises:
        EvaluationError: A row is no text, or no document has a token to score.
    """
    rows = list(read_rows(path))
    texts: list[tuple[str, str, str]] = []
    for row in rows:
        if not isinstance(row.sample, TextSample):
            first = next(iter(read_objects(path)))
            raise bad_row(first, "perplexity needs rows with `text`; write one document a row")
        texts.append((row.sample.id, row.place, row.sample.text))
    texts = sampled(texts, settings)
    segments = lm.tokenizer.segment_batch([text for _, _, text in texts], parse_special=False)
    found = [
        Document(name, place, each.ids, np.array(each.starts, dtype=np.int64), len(text.encode()))
        for (name, place, text), each in zip(texts, segments, strict=True)
    ]
    for each in found:
        check_ids(each.ids, lm.config.vocab_size, each.place)
    least = 1 if settings.scores_first and first_context(lm) is not None else 2
    kept = [each for each in found if len(each.ids) >= least]
    if not kept:
        raise EvaluationError(f"{path} has no text with a token to score; give longer texts", NO_ITEMS)
    return kept


def document_losses(
    lm: LoadedModel, documents: Sequence[Document], settings: PerplexitySettings, on_progress: Progress = no_progress
) -> list[Losses]:
    """The losses of the tokens of all documents.

    Args:
        lm: The model.
        documents: The documents.
        settings: Window, stride, and whether documents are joined.
        on_progress: Called with the numbers of finished and of all documents.
    """
    window, stride = window_of(lm, settings)
    start = first_context(lm) if settings.scores_first else None
    if settings.join_documents:
        return _joined_losses(lm, documents, window, stride, start)
    found: list[Losses] = []
    for number, document in enumerate(documents, 1):
        ids = document.ids if start is None else [start, *document.ids]
        found.append(Losses(document, -window_logprobs(lm, ids, window, stride), 1 if start is None else 0))
        on_progress(number, len(documents))
    return found


def _joined_losses(
    lm: LoadedModel, documents: Sequence[Document], window: int, stride: int, start: int | None
) -> list[Losses]:
    """The losses of documents in one text. Tokens between documents are context alone."""
    end = lm.tokenizer.eos_id
    ids = [] if start is None else [start]
    places: list[int] = []
    for document in documents:
        places.append(len(ids))
        ids += [*document.ids, *([] if end is None else [end])]
    nats = -window_logprobs(lm, ids, window, stride)  # of ids[1:]
    found: list[Losses] = []
    for document, place in zip(documents, places, strict=True):
        first = 1 if place == 0 else 0
        found.append(Losses(document, nats[place + first - 1 : place + len(document.ids) - 1], first))
    return found


def windows(count: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """The windows of a text: first input, one after the last input, and the first target that is scored.

    Inputs are tokens [first, last), targets are [first + 1, last + 1).

    >>> list(windows(11, 6, 3))
    [(0, 6, 1), (3, 9, 7), (4, 10, 10)]

    Args:
        count: Tokens of the text, context at its start included.
        window: Largest number of inputs.
        stride: Targets of each window after the first.
    """
    last = min(window, count - 1)
    yield 0, last, 1
    while last < count - 1:
        target = last + 1
        last = min(last + stride, count - 1)
        yield max(0, last - window), last, target


def window_logprobs(lm: LoadedModel, ids: Sequence[int], window: int, stride: int) -> NDArray[np.float64]:
    """Log-probability of each token after the first, given up to `window` tokens before it.

    Args:
        lm: The model.
        ids: Token ids, at least two.
        window: Largest number of inputs.
        stride: Tokens that each window after the first scores.

    Returns:
        One number for each of `ids[1:]`.
    """
    parts = [
        token_logprobs(lm.model, ids[first : last + 1], target - first)
        for first, last, target in windows(len(ids), window, stride)
    ]
    return np.concatenate(parts)


def loss_items(losses: Sequence[Losses]) -> list[Item]:
    """Documents as items; if these are fewer than 30, their blocks of 1,024 bytes. A token belongs to the block of its first byte.

    Items by bytes are the same for all tokenizers, so that models with different ones are paired.
    """
    size = BLOCK if len(losses) < FEW else None
    return [item for each in losses for item in _items(each, size)]


def _items(losses: Losses, block: int | None) -> Iterator[Item]:
    document = losses.document
    starts = document.starts[losses.first :]
    begin = 0 if losses.first == 0 else int(starts[0])  # the bytes of a first token that is not scored do not count
    block = block or max(document.size, 1)
    number = np.minimum(starts, max(document.size - 1, 0)) // block
    for each in range(max(1, -(-document.size // block))):
        mine = losses.nats[number == each]
        size = min((each + 1) * block, document.size) - max(each * block, begin)
        if size <= 0:
            continue
        nats = float(mine.sum())
        values = {"bits_per_byte": (nats / log(2), float(size)), "perplexity": (nats, float(len(mine)))}
        yield Item(
            document.id if block >= document.size else f"{document.id}#{each}",
            values,
            {"nats": nats, "tokens": len(mine), "bytes": size},
        )


TASK = Task(PerplexitySettings, measure_perplexity, "Perplexity and bits per byte of texts, by a sliding window.")
