"""How fast a tokenizer encodes, by every engine that is installed and exact on the texts at hand."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.lengths.cache import WORKERS
from lazarus_tokenkit.lengths.measure import CHUNK
from lazarus_tokenkit.tokenizers.backends.huggingface import batches_on_one_thread
from lazarus_tokenkit.tokenizers.engines import (
    EXTRAS,
    PACKAGES,
    Engine,
    Unfit,
    build_engine,
    check_engine,
    is_installed,
    reference_engine,
)
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

SAMPLE = [f"{n}. The quick brown fox jumps over the lazy dog; {n} + {n} = {2 * n}.\n" * 8 for n in range(1000)]
"""What is measured on where no data is given: 0.5 MB of plain English with numbers."""


@dataclass(frozen=True)
class Speed:
    """One engine's speed; None where it is not used, and `note` says why.

    Args:
        name: Engine and way of calling.
        megabytes_per_s: 10^6 bytes of text a second, the fastest of the runs.
        documents_per_s: Documents a second.
        tokens_per_s: Tokens a second.
        note: Why it is not used.
    """

    name: str
    megabytes_per_s: float | None = None
    documents_per_s: float | None = None
    tokens_per_s: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is printed with `--json`."""
        return asdict(self)


def measure_speed(tokenizer: Tokenizer, documents: Sequence[str], repeats: int = 3) -> list[Speed]:
    """Speeds of the reference one by one and in batches on all cores, of the other engines so too, and of decoding."""
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
        except Unfit as reason:
            found.append(Speed(name, note=str(reason)))
            continue
        found.append(speed(engine.name, lambda engine=engine: _encode_all(engine, documents)))
    found.append(speed("decode", lambda: [tokenizer.decode(each) for each in ids]))
    return found


def _encode_all(engine: Engine, documents: Sequence[str]) -> None:
    """As a length cache has it done: chunk by chunk, on all cores."""
    chunks = [documents[start : start + CHUNK] for start in range(0, len(documents), CHUNK)]
    with batches_on_one_thread(), ThreadPoolExecutor(1 if engine.is_parallel else WORKERS) as workers:
        for _ in workers.map(engine.encode_batch, chunks):
            pass


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
