"""Encodes rows in chunks: several chunks run concurrently and are returned in the order of the data."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from lazarus_tokenkit.encoding.encoder import Encoder, Prepared
from lazarus_tokenkit.samples.documents import sample_text
from lazarus_tokenkit.samples.kinds import IdsSample
from lazarus_tokenkit.samples.read import Row
from lazarus_tokenkit.tokenizers.backends.parallelism import batches_on_one_thread
from lazarus_tokenkit.tokenizers.engines import NUM_CHECKED, Engine, EngineName, choose_engine, continuation_engine
from lazarus_tokenkit.tokenizers.ids import Ids

WORKERS = min(os.cpu_count() or 1, 8)
"""Chunks that are encoded concurrently. One thread reads the rows and keeps at most eight workers busy."""
Chunk = TypeVar("Chunk")


class Engines(NamedTuple):
    """The engine for texts, and the engine for texts that continue other texts."""

    texts: Engine
    continuing: Engine

    def encode(self, prepared: Prepared) -> tuple[list[Ids], list[Ids]]:
        """Returns the ids of `prepared.texts` and of `prepared.continuing`."""
        continuing = self.continuing.encode_batch(prepared.continuing) if prepared.continuing else []
        return self.texts.encode_batch(prepared.texts), continuing


def open_engines(encoder: Encoder, rows: Iterator[Row], engine: EngineName) -> tuple[Engines, Iterator[Row]]:
    """Opens the requested engine if it equals the reference on the first rows, else the reference engine.

    Args:
        encoder: Its tokenizer gives the reference's ids.
        rows: The rows of the data.
        engine: The requested engine.

    Returns:
        The engines, and an iterator over all rows, including those read for the comparison.
    """
    first = list(islice(rows, NUM_CHECKED)) if engine != "huggingface" else []
    texts = [sample_text(row.sample) for row in first if not isinstance(row.sample, IdsSample)]
    fingerprint = encoder.fingerprint.fingerprint
    chosen = choose_engine(encoder.tokenizer, engine, texts, fingerprint)
    return Engines(chosen, continuation_engine(encoder.tokenizer, chosen, texts, fingerprint)), chain(first, rows)


def in_order(
    rows: Iterator[Row],
    start: Callable[[list[Row], ThreadPoolExecutor], Chunk],
    size: int,
    workers: int,
) -> Iterator[Chunk]:
    """Starts chunks ahead and yields them in order. At most 2 * WORKERS + 1 chunks are in memory.

    Args:
        rows: The rows of the data.
        start: Starts the work on a list of rows. Long work must be submitted to the pool.
        size: Number of rows in a chunk; the last chunk may have fewer.
        workers: Number of threads in the pool.
    """
    # The oldest chunk is yielded once enough newer chunks are in progress, or the rows have ended.
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
