"""Speeds of lazarus-tokenkit beside those of what it stands on, in one process: length caches, memory, BPE training.

    uv run python tools/benchmarks/tokenkit_speed.py DATA lengths|memory|train

DATA is the folder of real inputs. Figures are the best of some runs; `x` says how often the reference's time is in it.
Runs take turns, so that what else the machine does slows all of them. Extras are measured where they are installed.
"""

import gc
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

from lazarus_tokenkit import Encoder, FieldNames, build_lengths, load_tokenizer, read_samples
from lazarus_tokenkit.tokenizers import BpeConfig, is_installed, train_bpe

GSM8K = FieldNames(prompt="question", completion="answer")


class Cost(NamedTuple):
    """Seconds of the fastest run, by the clock and of all cores together: the latter hardly changes on a busy machine."""

    clock: float
    cpu: float

    def beside(self, reference: "Cost") -> str:
        """The costs, and the reference's as a multiple of them."""
        times = reference.clock / self.clock, reference.cpu / self.cpu
        return f"{self.clock:5.2f} s {times[0]:6.2f} x   CPU {self.cpu:5.2f} s {times[1]:6.2f} x"


def race(runs: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, list[Cost]]:
    """Costs of runs that take turns, in the order they were paid."""
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    gc.collect()
    gc.freeze()  # what the benchmark holds is not for the runs to walk through
    for _ in range(repeats):
        for name, run in runs.items():
            clock, cpu = time.perf_counter(), time.process_time()
            run()
            costs[name].append(Cost(time.perf_counter() - clock, time.process_time() - cpu))
    return costs


def fastest(costs: list[Cost]) -> Cost:
    """The least of each."""
    return Cost(min(cost.clock for cost in costs), min(cost.cpu for cost in costs))


def lengths(data: Path) -> None:
    """The length cache of GSM8K, once and ten times, beside the reference's own batch encoding of the same texts.

    The tokenizer is open, as the reference's is; the first run also takes its fingerprint and opens the engine.
    """
    import tokenizers

    gsm8k = [data / "datasets" / "gsm8k" / name for name in ("train.jsonl", "test.jsonl")]
    engines = [name for name in ("huggingface", "tiktoken", "gigatoken") if is_installed(name)]
    for times in (1, 10):
        tokenizer = load_tokenizer(data / "tokenizers" / "gpt2")
        raw = tokenizers.Tokenizer.from_buffer(tokenizer.files["tokenizer.json"])
        paths = gsm8k * times
        texts = Encoder(tokenizer).prepare(list(read_samples(paths, GSM8K))).texts
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "lengths.jsonl"
            runs: dict[str, Callable[[], Any]] = {
                "encode_batch": lambda texts=texts, raw=raw: raw.encode_batch(texts, add_special_tokens=False)
            }
            for name in engines:
                encoder = Encoder(load_tokenizer(data / "tokenizers" / "gpt2"))
                runs[f"lengths, {name}"] = lambda encoder=encoder, name=name, paths=paths, output=output: build_lengths(
                    paths, encoder, output, GSM8K, engine=name
                )
            costs = race(runs, 5 if times == 1 else 3)
        reference = fastest(costs["encode_batch"])
        print(f"{times} x GSM8K: {len(texts):,} texts")
        for name, found in costs.items():
            first = f"   first CPU {found[0].cpu:5.2f} s {reference.cpu / found[0].cpu:5.2f} x"
            print(f"  {name:<20} {fastest(found).beside(reference)}{first}")


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

    costs = race({"bare": bare, "ours": ours}, 3)
    reference, taken = fastest(costs["bare"]), fastest(costs["ours"])
    print(f"trainer   {reference.clock:5.2f} s            CPU {reference.cpu:5.2f} s")
    print(f"train_bpe {taken.beside(reference)}")
    print(f"{len(set(digests))} SHA-256 in {len(digests)} runs: {digests[0][:16]}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    {"lengths": lengths, "memory": memory, "train": train}[sys.argv[2]](Path(sys.argv[1]))
