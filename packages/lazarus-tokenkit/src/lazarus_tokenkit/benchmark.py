"""Measures the encoding speed of every installed engine that gives the reference's ids on the texts."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.lengths.chunks import WORKERS
from lazarus_tokenkit.lengths.measure import CHUNK
from lazarus_tokenkit.tokenizers.backends.parallelism import batches_on_one_thread
from lazarus_tokenkit.tokenizers.engines import (
    EXTRAS,
    PACKAGES,
    Engine,
    UnsuitableEngine,
    build_engine,
    check_engine,
    is_installed,
    reference_engine,
)
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

SAMPLE = [f"{n}. The quick brown fox jumps over the lazy dog; {n} + {n} = {2 * n}.\n" * 8 for n in range(1000)]
"""Default texts: 0.5 MB of plain English with numbers."""


@dataclass(frozen=True)
class Speed:
    """Speed of one engine. The values are None if the engine cannot be used.

    Args:
        name: Name of the engine and of the calling mode.
        megabytes_per_s: 10^6 UTF-8 bytes of text a second, in the fastest run.
        documents_per_s: Documents a second.
        tokens_per_s: Tokens a second.
        note: Reason why the engine cannot be used, else empty.
    """

    name: str
    megabytes_per_s: float | None = None
    documents_per_s: float | None = None
    tokens_per_s: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_speed(tokenizer: Tokenizer, documents: Sequence[str], repeats: int = 3) -> list[Speed]:
    """Measures the speed of every engine and of decoding.

    The reference engine is measured one text at a time and in batches, the other engines in batches.

    Args:
        tokenizer: The tokenizer to measure.
        documents: The texts to encode.
        repeats: Number of runs, at least 1. The fastest run counts.
    """
    size = sum(len(text.encode()) for text in documents)
    ids = tokenizer.encode_batch(documents)
    tokens = sum(map(len, ids))

    def speed(name: str, run: Callable[[], Any]) -> Speed:
        seconds = min(_seconds(run) for _ in range(repeats))
        return Speed(name, size / 1e6 / seconds, len(documents) / seconds, tokens / seconds)

    reference = reference_engine(tokenizer)
    found = [
        speed(f"{reference.name}, one by one", lambda: [tokenizer.encode(text) for text in documents]),
        speed(f"{reference.name}, batch", lambda: _encode_all(reference, documents)),
    ]
    for name in PACKAGES:
        if name == "huggingface":
            continue
        if not is_installed(name):
            found.append(Speed(name, note=f"install lazarus-tokenkit[{EXTRAS[name]}]"))
            continue
        try:
            engine = build_engine(tokenizer, name)
            check_engine(engine, tokenizer, documents[:2000])
        except UnsuitableEngine as reason:
            found.append(Speed(name, note=str(reason)))
            continue
        found.append(speed(engine.name, lambda engine=engine: _encode_all(engine, documents)))
    found.append(speed("decode", lambda: [tokenizer.decode(each) for each in ids]))
    return found


def _encode_all(engine: Engine, documents: Sequence[str]) -> None:
    """Encodes chunk by chunk on all cores, as `build_lengths` does."""
    chunks = [documents[start : start + CHUNK] for start in range(0, len(documents), CHUNK)]
    with batches_on_one_thread(), ThreadPoolExecutor(1 if engine.is_parallel else WORKERS) as workers:
        for _ in workers.map(engine.encode_batch, chunks):
            pass


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
