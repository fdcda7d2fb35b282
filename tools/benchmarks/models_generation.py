"""Generation, loading and the first token on the command line against mlx-lm in one run, with identical tokens.

    uv run python tools/benchmarks/models_generation.py [MODEL] [--rounds 12] [--json PATH]

Runs on MLX's default device. Without a model, one of the preset `small` (17 million parameters over bytes) is made. Rounds alternate, also in who goes
first, and the best of each side counts: of its seconds, and of its CPU seconds, which tell more on a busy machine.
The first round, which compiles kernels on a GPU, never is the best. The memory is the peak of MLX's allocator.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import lazarus_models
from lazarus_models import GenerationConfig
from lazarus_models.backend import mx
from lazarus_models.generation import generate_tokens
from lazarus_tokenkit import load_tokenizer

TOKENS = 96
ROUNDS = 12
PROMPTS = [[1 + (17 * row + place) % 200 for place in range(24 + 3 * row)] for row in range(8)]


def theirs_alone(model) -> list[int]:
    from mlx_lm.generate import generate_step

    return [int(token) for token, _ in generate_step(mx.array(PROMPTS[0]), model, max_tokens=TOKENS)]


def theirs_together(model) -> list[list[int]]:
    from mlx_lm.generate import BatchGenerator

    generator = BatchGenerator(model, max_tokens=TOKENS, completion_batch_size=8, prefill_batch_size=8)
    uids = generator.insert(PROMPTS)
    texts: dict[int, list[int]] = {uid: [] for uid in uids}
    while any(len(text) < TOKENS for text in texts.values()):
        for response in generator.next_generated():
            texts[response.uid].append(response.token)
    generator.close()
    return [texts[uid] for uid in uids]


def ours_together(model) -> list[list[int]]:
    from lazarus_models.generation import batch_tokens

    config = GenerationConfig(max_new_tokens=TOKENS)
    return batch_tokens(model, [(prompt, config) for prompt in PROMPTS], batch_size=8)


def command(name: str, *arguments: str) -> None:
    """Runs a console script of this environment."""
    beside = Path(sys.executable).with_name(name)
    script = beside if beside.exists() else shutil.which(name) or name
    subprocess.run(
        [script, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )


def first_token(path: Path) -> "Measured":
    """From the command to the first token's end."""
    some = ("--model", str(path), "--prompt", "Once upon a", "--max-tokens", "1")
    return measure(
        5,
        lambda: command("mlx_lm.generate", *some, "--ignore-chat-template"),
        lambda: command("lazarus-models", "infer", *some, "--raw"),
    )


class Measured(NamedTuple):
    """Theirs and ours."""

    seconds: list[float]
    cpu_seconds: list[float]
    results: list[Any]
    peak_bytes: list[int]


def measure(rounds, *sides) -> Measured:
    seconds, used, results = [float("inf")] * len(sides), [float("inf")] * len(sides), [None] * len(sides)
    peaks = [0] * len(sides)
    for number in range(rounds):
        for place, side in list(enumerate(sides))[:: 1 if number % 2 else -1]:
            mx.reset_peak_memory()
            start, cpu_start = time.perf_counter(), cpu_seconds()
            results[place] = side()
            seconds[place] = min(seconds[place], time.perf_counter() - start)
            used[place] = min(used[place], cpu_seconds() - cpu_start)
            peaks[place] = max(peaks[place], mx.get_peak_memory())
    return Measured(seconds, used, results, peaks)


def cpu_seconds() -> float:
    """Of this process, all its threads, and its children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def show(name: str, measured: Measured, tokens: int = 0) -> None:
    (theirs, ours), (their_cpu, our_cpu) = measured.seconds, measured.cpu_seconds
    one, other, unit = (tokens / theirs, tokens / ours, "tok/s") if tokens else (theirs, ours, "s")
    ratios = (theirs / ours, their_cpu / our_cpu) if tokens else (ours / theirs, our_cpu / their_cpu)
    print(f"{name:12} mlx-lm {one:8.3f}  ours {other:8.3f} {unit:6} x{ratios[0]:.2f}, by CPU x{ratios[1]:.2f}", end="")
    if tokens:
        print(f", {measured.peak_bytes[0] / 2**20:,.0f} and {measured.peak_bytes[1] / 2**20:,.0f} MiB", end="")
    print("  OTHER TOKENS" if tokens and measured.results[0] != measured.results[1] else "", flush=True)


def main() -> None:
    import mlx_lm

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="a folder; without it a small model is made")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    asked = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = asked.model or Path(folder) / "small"
        if asked.model is None:
            lazarus_models.save(lazarus_models.init_model("small", load_tokenizer("byte"), seed=0), path)
        loaded = measure(asked.rounds, lambda: mlx_lm.load(str(path)), lambda: lazarus_models.load(path))
        show("load", loaded)
        show("first token", first_token(path))
        theirs, lm = loaded.results[0][0], loaded.results[1]
        config = GenerationConfig(max_new_tokens=TOKENS)
        alone = measure(
            asked.rounds, lambda: theirs_alone(theirs), lambda: list(generate_tokens(lm.model, PROMPTS[0], config))
        )
        show("one text", alone, TOKENS)
        together = measure(asked.rounds, lambda: theirs_together(theirs), lambda: ours_together(lm.model))
        show("eight texts", together, 8 * TOKENS)
    if asked.json:
        asked.json.write_text(
            json.dumps({"one text": summed(alone, TOKENS), "eight texts": summed(together, 8 * TOKENS)})
        )


def summed(measured: Measured, tokens: int) -> dict[str, Any]:
    """Figures of a comparison, by side."""
    sides = {
        side: {"tokens_per_s": tokens / seconds, "memory_mib": peak / 2**20}
        for side, seconds, peak in zip(("mlx-lm", "lazarus"), measured.seconds, measured.peak_bytes, strict=True)
    }
    return {**sides, "equal_tokens": measured.results[0] == measured.results[1]}


if __name__ == "__main__":
    main()
