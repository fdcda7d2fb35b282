"""Orders samples from easy to hard, by length or by reasoning density.

Reasoning density is the number of connectives, equations and numbered or bulleted steps in a hundred words. It is a
heuristic for ordering: two texts with equal density need not be equally hard.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lazarus_tokenkit.analysis.efficiency import SPANS
from lazarus_tokenkit.samples.documents import sample_text
from lazarus_tokenkit.samples.kinds import Sample
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

By = Literal["length", "reasoning"]
CONNECTIVE = re.compile(
    r"\b(?:because|therefore|thus|hence|so|since|if|then|but|however|first|second|next|finally|let|suppose|which means)\b",
    re.I,
)
STEP = re.compile(r"^\s*(?:\d+[.)]|[-*]|step \d+)", re.I | re.M)
WORDS_PER_UNIT = 100


@dataclass(frozen=True)
class Curriculum:
    """An order of samples.

    Args:
        by: The criterion.
        order: Positions of the samples, easiest first.
        scores: Score of each sample, indexed by position.
        stages: Start of each stage in `order`. Stages have equal numbers of samples, up to one.
    """

    by: By
    order: tuple[int, ...]
    scores: tuple[float, ...]
    stages: tuple[int, ...]


def reasoning_density(text: str) -> float:
    """Returns the number of connectives, equations and steps in a hundred words.

    >>> reasoning_density("so 1 + 1 = 2 and nothing else")
    22.22222222222222
    """
    words = len(text.split())
    marks = len(CONNECTIVE.findall(text)) + len(STEP.findall(text)) + len(SPANS["equation"].findall(text))
    return WORDS_PER_UNIT * marks / words if words else 0.0


def make_curriculum(
    samples: Sequence[Sample], by: By, tokenizer: Tokenizer | None = None, num_stages: int = 4
) -> Curriculum:
    """Orders samples from easy to hard. Samples with equal scores keep their order.

    Args:
        samples: Samples of any kind.
        by: The criterion: `length` or `reasoning`.
        tokenizer: Measures lengths in tokens. None measures lengths in characters.
        num_stages: Number of stages, at least 1. It is reduced to the number of samples.
    """
    texts = [sample_text(sample) for sample in samples]
    if by == "reasoning":
        scores = [reasoning_density(text) for text in texts]
    elif tokenizer is not None:
        scores = [float(len(ids)) for ids in tokenizer.encode_batch(texts, parse_special=False)]
    else:
        scores = [float(len(text)) for text in texts]
    order = np.argsort(np.array(scores), kind="stable")
    num_stages = min(num_stages, len(texts))
    stages = tuple(len(texts) * stage // num_stages for stage in range(num_stages))
    return Curriculum(by, tuple(int(place) for place in order), tuple(scores), stages)
