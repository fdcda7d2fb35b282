"""Speeds of lazarus-tokenkit beside those of what it stands on, in one process: length caches, memory, BPE training.

    uv run python tools/benchmarks/tokenkit_speed.py DATA lengths|memory|train

DATA is the folder of real inputs. Figures are the best of three; `x` says how often the reference's time is in it. The
extra `fast` is measured where it is installed.
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
from typing import Any, NamedTuple

from lazarus_tokenkit import BpeConfig, Encoder, FieldNames, build_lengths, load_tokenizer, read_samples, train_bpe
from lazarus_tokenkit.engines import build_engine, is_installed

GSM8K = FieldNames(prompt="question", completion="answer")


class Cost(NamedTuple):
    """Seconds of the fastest run, by the clock and of all cores together: the latter hardly changes on a busy machine."""

    clock: float
    cpu: float

    def beside(self, reference: "Cost") -> str:
        """The costs, and the reference's as a multiple of them."""
        times = reference.clock / self.clock, reference.cpu / self.cpu
        return f"{self.clock:5.2f} s {times[0]:6.2f} x   CPU {self.cpu:5.2f} s {times[1]:6.2f} x"


def best(run: Callable[[], Any], repeats: int = 3) -> Cost:
    """The fastest of some runs."""
    costs: list[Cost] = []
    for _ in range(repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        run()
        costs.append(Cost(time.perf_counter() - clock, time.process_time() - cpu))
    return Cost(min(cost.clock for cost in costs), min(cost.cpu for cost in costs))


def lengths(data: Path) -> None:
    """The length cache of GSM8K, once and ten times, beside the reference's own batch encoding of the same texts."""
    import tokenizers

    tokenizer = load_tokenizer(data / "tokenizers" / "gpt2")
    gsm8k = [data / "datasets" / "gsm8k" / name for name in ("train.jsonl", "test.jsonl")]
    encoder = Encoder(tokenizer)
    raw = tokenizers.Tokenizer.from_buffer(tokenizer.files["tokenizer.json"])
    for times in (1, 10):
        paths = gsm8k * times
        texts = encoder.prepare(list(read_samples(paths, GSM8K))).texts
        reference = best(lambda texts=texts: raw.encode_batch(texts, add_special_tokens=False))
        print(f"{times} x GSM8K: encode_batch {reference.clock:.2f} s, CPU {reference.cpu:.2f} s")
        for engine in ("huggingface", "tiktoken", "gigatoken"):
            if not is_installed(engine):
                continue
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "lengths.jsonl"
                taken = best(
                    lambda paths=paths, engine=engine, output=output: build_lengths(
                        paths, encoder, output, GSM8K, engine=engine
                    )
                )
            print(f"  lengths, {engine:<12} {taken.beside(reference)}")
            if engine != "huggingface":
                made = build_engine(tokenizer, engine)
                alone = best(lambda made=made, texts=texts: made.encode_batch(texts))
                print(f"  {engine + ' alone':<21} {alone.beside(reference)}")


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
    print(f"trainer   {reference.clock:5.2f} s            CPU {reference.cpu:5.2f} s")
    print(f"train_bpe {taken.beside(reference)}")
    print(f"{len(set(digests))} SHA-256 in {len(digests)} runs: {digests[0][:16]}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    {"lengths": lengths, "memory": memory, "train": train}[sys.argv[2]](Path(sys.argv[1]))
