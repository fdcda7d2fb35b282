"""Generation and loading against mlx-lm in the same process: tokens a second, identical tokens, seconds to load.

    uv run python tools/benchmarks/models_generation.py [MODEL]

Without a model, one of the preset `small` (22 million parameters over bytes) is made. Rounds alternate and the best of each side counts.
"""

import sys
import tempfile
import time
from pathlib import Path

import lazarus_models
from lazarus_models import GenerationConfig, generate_tokens
from lazarus_models.backend import mx
from lazarus_tokenkit import load_tokenizer

TOKENS = 128
ROUNDS = 5
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
    from lazarus_models.batch import batch_tokens

    config = GenerationConfig(max_new_tokens=TOKENS)
    return batch_tokens(model, [(prompt, config) for prompt in PROMPTS], batch_size=8)


def best(rounds, *sides):
    """Seconds and result of each side."""
    seconds, results = [float("inf")] * len(sides), [None] * len(sides)
    for _ in range(rounds):
        for place, side in enumerate(sides):
            start = time.perf_counter()
            results[place] = side()
            seconds[place] = min(seconds[place], time.perf_counter() - start)
    return seconds, results


def main() -> None:
    import mlx_lm

    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "small"
        if len(sys.argv) == 1:
            lazarus_models.save(lazarus_models.new("small", load_tokenizer("byte"), seed=0), path)
        (load_theirs, load_ours), (pair, lm) = best(
            3, lambda: mlx_lm.load(str(path)), lambda: lazarus_models.load(path)
        )
        theirs = pair[0]
        config = GenerationConfig(max_new_tokens=TOKENS)
        rows = [("load", load_theirs, load_ours, "s", True)]
        seconds, (a, b) = best(
            ROUNDS, lambda: theirs_alone(theirs), lambda: list(generate_tokens(lm.model, PROMPTS[0], config))
        )
        rows.append(("one text", TOKENS / seconds[0], TOKENS / seconds[1], "tok/s", a == b))
        seconds, (a, b) = best(ROUNDS, lambda: theirs_together(theirs), lambda: ours_together(lm.model))
        rows.append(("eight texts", 8 * TOKENS / seconds[0], 8 * TOKENS / seconds[1], "tok/s", a == b))
    for name, one, other, unit, same in rows:
        print(
            f"{name:12} mlx-lm {one:8.2f}  ours {other:8.2f} {unit:6} x{other / one:.2f}  {'same' if same else 'OTHER'} result"
        )


if __name__ == "__main__":
    main()
