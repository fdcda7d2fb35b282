"""An order of samples from easy to hard: by length, or by how densely they reason.

Reasoning density is the number of marks of reasoning (connectives, equations, numbered or bulleted steps) a hundred
words. It orders, it does not measure: two texts of one density are not equally hard.
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
    """An order.

    Args:
        by: What it goes by.
        order: Positions of the samples, easy first.
        scores: Of each sample, by position.
        stages: Where each stage begins in `order`; stages have equal numbers of samples.
    """

    by: By
    order: tuple[int, ...]
    scores: tuple[float, ...]
    stages: tuple[int, ...]


def reasoning_density(text: str) -> float:
    """Marks of reasoning a hundred words.

    >>> reasoning_density("so 1 + 1 = 2 and nothing else")
    22.22222222222222
    """
    words = len(text.split())
    marks = len(CONNECTIVE.findall(text)) + len(STEP.findall(text)) + len(SPANS["equation"].findall(text))
    return WORDS_PER_UNIT * marks / words if words else 0.0


def make_curriculum(
    samples: Sequence[Sample], by: By, tokenizer: Tokenizer | None = None, num_stages: int = 4
) -> Curriculum:
    """Orders samples; equal scores keep the order of the file.

    Args:
        samples: The samples.
        by: What to go by.
        tokenizer: Counts lengths; None counts characters.
        num_stages: How many stages to mark; no more than there are samples, so that none is empty.
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
