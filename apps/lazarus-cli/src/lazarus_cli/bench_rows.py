"""Synthetic rows for `lazarus bench` without data: prompts and answers of random words, the same on every machine.

Lengths follow a log-normal distribution, as those of chat data sets do: many short answers, a few long ones.
"""

import json
import math
import random

MAX_SYNTHETIC_ROWS = 1_000_000
"""Rows that a benchmark makes at most: half a gigabyte."""
MEDIAN_BYTES, SIGMA = 300, 0.8
"""Median of the bytes of a row, and the standard deviation of their logarithm."""
SHARE_OF_PROMPT = 0.3
LETTERS = "eeeeetttaaaoooiinnsshhrrdlu"
"""Letters of words, about as frequent as in English."""


def synthetic_rows(count: int, longest: int, seed: int = 0) -> bytes:
    """Returns rows with `prompt` and `completion` as JSON Lines.

    Args:
        count: Number of rows.
        longest: Upper bound for the bytes of a prompt and its answer together, so that rows fit a step.
        seed: Random seed; the same seed gives the same bytes.
    """
    random_source = random.Random(seed)
    bound = max(16, longest // 2)  # a template and special tokens need room
    lines: list[str] = []
    for _ in range(count):
        size = min(bound, max(8, round(random_source.lognormvariate(math.log(MEDIAN_BYTES), SIGMA))))
        of_prompt = max(4, round(size * SHARE_OF_PROMPT))
        row = {"prompt": _text(random_source, of_prompt), "completion": _text(random_source, size - of_prompt)}
        lines.append(json.dumps(row))
    return ("\n".join(lines) + "\n").encode()


def _text(random_source: random.Random, size: int) -> str:
    """Words of a given number of bytes in all, spaces included."""
    words: list[str] = []
    left = size
    while left > 0:
        length = min(left, random_source.randint(2, 9))
        words.append("".join(random_source.choices(LETTERS, k=length)))
        left -= length + 1
    return " ".join(words)
