"""Rows through an engine in chunks: several are encoded at the same time, and all come out in the order of the data."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from lazarus_tokenkit.encoding.encoder import Encoder, Prepared
from lazarus_tokenkit.samples.documents import sample_text
from lazarus_tokenkit.samples.read import Row
from lazarus_tokenkit.tokenizers.backends.huggingface import batches_on_one_thread
from lazarus_tokenkit.tokenizers.engines import NUM_CHECKED, Engine, EngineName, choose_engine, continuation_engine
from lazarus_tokenkit.tokenizers.ids import Ids

WORKERS = min(os.cpu_count() or 1, 8)
"""Chunks that are encoded at the same time; more than eight would wait for the rows, which one thread reads."""
Chunk = TypeVar("Chunk")


class Engines(NamedTuple):
    """The engine of texts, and the engine of texts that continue others."""

    texts: Engine
    continuing: Engine

    def encode(self, prepared: Prepared) -> tuple[list[Ids], list[Ids]]:
        """Ids of `prepared.texts` and of `prepared.continuing`."""
        continuing = self.continuing.encode_batch(prepared.continuing) if prepared.continuing else []
        return self.texts.encode_batch(prepared.texts), continuing


def open_engines(encoder: Encoder, rows: Iterator[Row], engine: EngineName) -> tuple[Engines, Iterator[Row]]:
    """Engines that are exact on the first rows of the data.

    Args:
        encoder: Its tokenizer decides on the ids.
        rows: The data.
        engine: The wanted engine.

    Returns:
        The engines, and all rows: those that were read for the comparison come first.
    """
    first = list(islice(rows, NUM_CHECKED)) if engine != "huggingface" else []
    texts = [sample_text(row.sample) for row in first]
    fingerprint = encoder.fingerprint.fingerprint
    chosen = choose_engine(encoder.tokenizer, engine, texts, fingerprint)
    return Engines(chosen, continuation_engine(encoder.tokenizer, chosen, texts, fingerprint)), chain(first, rows)


def in_order(
    rows: Iterator[Row],
    start: Callable[[list[Row], ThreadPoolExecutor], Chunk],
    size: int,
    workers: int,
) -> Iterator[Chunk]:
    """Starts chunks ahead of time and yields them in order; memory holds at most 2 * WORKERS + 1 of them.

    Args:
        rows: The data.
        start: Begins the work on some rows, on the pool if it takes long.
        size: Rows of a chunk; the last may have fewer.
        workers: Threads of the pool.
    """
    waiting: deque[Chunk] = deque()
    with batches_on_one_thread(), ThreadPoolExecutor(workers) as pool:
        while True:
            batch = list(islice(rows, size))
            if batch:
                waiting.append(start(batch, pool))
            if waiting and (len(waiting) > 2 * WORKERS or not batch):
                yield waiting.popleft()
            elif not batch:
                return
