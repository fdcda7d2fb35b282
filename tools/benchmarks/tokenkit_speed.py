"""Speeds of lazarus-tokenkit beside those of what it stands on, in one process: length caches, memory, BPE training.

    uv run python tools/benchmarks/tokenkit_speed.py DATA lengths|memory|train

DATA is the folder of real inputs. Figures are the best of three; other work on the machine shows in all of them alike.
"""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lazarus_tokenkit import BpeConfig, Encoder, FieldNames, build_lengths, load_tokenizer, read_samples, train_bpe
from lazarus_tokenkit.engines import build_engine, is_installed

GSM8K = FieldNames(prompt="question", completion="answer")


def best(run: Callable[[], Any], repeats: int = 3) -> float:
    """Seconds of the fastest run."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def lengths(data: Path) -> None:
    """The length cache of GSM8K beside the reference's own batch encoding of the same texts."""
    tokenizer = load_tokenizer(data / "tokenizers" / "gpt2")
    paths = [data / "datasets" / "gsm8k" / name for name in ("train.jsonl", "test.jsonl")]
    encoder = Encoder(tokenizer)
    texts = encoder.prepare(list(read_samples(paths, GSM8K))).texts
    import tokenizers

    raw = tokenizers.Tokenizer.from_buffer(tokenizer.files["tokenizer.json"])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lengths.jsonl"
        reference = best(lambda: raw.encode_batch(texts, add_special_tokens=False))
        print(f"encode_batch      {reference:.2f} s")
        print(f"encode_batch_fast {best(lambda: raw.encode_batch_fast(texts, add_special_tokens=False)):.2f} s")
        for engine in ("huggingface", "tiktoken", "gigatoken"):
            if not is_installed(engine):
                continue
            taken = best(lambda engine=engine: build_lengths(paths, encoder, output, GSM8K, engine=engine))
            print(f"lengths, {engine:<12} {taken:.2f} s, {reference / taken:.2f} times encode_batch")
            if engine != "huggingface":
                made = build_engine(tokenizer, engine)
                alone = best(lambda made=made: made.encode_batch(texts))
                print(f"  {engine} alone {alone:.2f} s, {reference / alone:.2f} times encode_batch")


def memory(data: Path) -> None:
    """Peak memory of a length cache of 50 MB and of 500 MB, each in a process of its own."""
    rows = (data / "datasets" / "gsm8k" / "train.jsonl").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in (50, 500):
            path = Path(folder) / f"{megabytes}.jsonl"
            with path.open("wb") as stream:
                while stream.tell() < megabytes * 1_000_000:
                    stream.write(rows)
            code = (
                "import sys; sys.argv = ['x', *sys.argv[1:]]; from lazarus_tokenkit.__main__ import main\n"
                "try: main()\nfinally:\n import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
            )
            source = str(data / "tokenizers" / "tok512")
            command = ["lengths", "build", "-d", str(path), "-t", source, "-o", f"{folder}/l.jsonl", "--prompt-field"]
            command += ["question", "--completion-field", "answer", *sys.argv[3:]]
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
            peak = int(done.stderr.split()[-1]) / 1024
            print(f"{megabytes} MB: {time.perf_counter() - start:.0f} s, peak {peak:.0f} MB")


def train(data: Path) -> None:
    """BPE of 20 MB, vocabulary 8,192, beside the bare trainer; three runs."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    files = [*sorted((data / "datasets" / "text").glob("*.txt")), data / "datasets" / "gsm8k" / "train.jsonl"]
    text = "".join(file.read_text("utf-8") for file in files)
    texts = (text * (20_000_000 // len(text.encode()) + 1))[:20_000_000].splitlines(keepends=True)

    def bare() -> None:
        engine = tokenizers.Tokenizer(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        engine.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=8192, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
        )

    digests: list[str] = []

    def ours() -> None:
        files = train_bpe(texts, BpeConfig(vocab_size=8192)).files
        digests.append(hashlib.sha256(json.dumps({k: v.decode() for k, v in files.items()}).encode()).hexdigest())

    reference, taken = best(bare), best(ours)
    print(f"trainer {reference:.2f} s, train_bpe {taken:.2f} s, {taken / reference:.2f} times")
    print(f"{len(set(digests))} SHA-256 in {len(digests)} runs: {digests[0][:16]}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    {"lengths": lengths, "memory": memory, "train": train}[sys.argv[2]](Path(sys.argv[1]))
