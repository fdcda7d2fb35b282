"""Components that write a prediction, by direct attribution over many prompts.

n = prompts, C = components: heads and MLPs

A component is detected if its share of logit[positive] - logit[negative] is positive over the prompts, against random flips of
the signs (corrected for all components), and is at least a part of the mean absolute difference. Prompts have different
positive and negative tokens, so that a constant preference for a token is no share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lazarus_introspect.reading.attribution import attribute
from lazarus_introspect.statistics import benjamini_hochberg, sign_flip_p


class Question(NamedTuple):
    """A prompt and two possible next tokens."""

    ids: tuple[int, ...]
    positive: int
    negative: int


@dataclass(frozen=True)
class AttributedComponent:
    """A head or MLP, and its share over the prompts."""

    name: str
    """Such as `layer 0 head 3` or `layer 1 MLP`."""
    share: float
    """Mean share over the mean absolute difference."""
    p: float
    q: float
    """p corrected for all components."""
    detected: bool


def attributed_components(
    model: Any, questions: Sequence[Question], *, rate: float = 0.05, min_share: float = 0.2, seed: int = 0
) -> list[AttributedComponent]:
    """Tests which components write the prediction of positive over negative tokens.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        questions: Prompts with a positive and a negative token.
        rate: False-discovery rate, in (0, 1).
        min_share: Least share of the mean absolute difference of a detected component.
        seed: Random seed of the flips, at least 0.
    """
    rows: list[dict[str, float]] = []
    differences: list[float] = []
    for each in questions:
        found = attribute(model, [list(each.ids)], each.positive, each.negative)
        differences.append(abs(found.difference))
        row = {f"layer {layer} MLP": share for layer, share in enumerate(found.mlp)}
        for layer, heads in enumerate(found.heads):
            if heads is not None:
                row |= {f"layer {layer} head {head}": float(share) for head, share in enumerate(heads)}
        rows.append(row)
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    shares = np.array([[row[name] for name in names] for row in rows])  # (n, C)
    p_values = sign_flip_p(shares, seed=seed)
    q_values = benjamini_hochberg(p_values)
    scale = max(float(np.mean(differences)), 1e-12)
    return [
        AttributedComponent(
            name=name,
            share=float(shares[:, place].mean() / scale),
            p=float(p_values[place]),
            q=float(q_values[place]),
            detected=bool(q_values[place] <= rate and shares[:, place].mean() / scale >= min_share),
        )
        for place, name in enumerate(names)
    ]
