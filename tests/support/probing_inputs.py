"""Inputs of the comparison with scikit-learn: small integers over a power of two, the same in every version of NumPy."""

import numpy as np

PENALTIES = tuple(10.0**power for power in range(-3, 4))
CASES = {"narrow": (60, 5, 2), "wide": (40, 90, 2), "uneven": (80, 12, 2)}
"""Rows, features and classes."""
CLUSTERS = 4


def _integers(count: int, seed: int) -> np.ndarray:
    """Numbers from -2 to 2, by a linear congruential generator."""
    found, state = np.empty(count), seed
    for place in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        found[place] = (state >> 40) % 257 / 64 - 2
    return found


def case(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes with some signal."""
    n, d, _ = CASES[name]
    x = _integers(n * d, n + d).reshape(n, d)
    x[:, 2] = np.round(x[:, 2])  # with ties
    score = x[:, 0] - x[:, 1] + _integers(n, 5)
    return x, (score > np.quantile(score, 0.8 if name == "uneven" else 0.5)).astype(int)


def points() -> tuple[np.ndarray, np.ndarray]:
    """States around four centres, and their centres' numbers."""
    classes = np.arange(60) % CLUSTERS
    return _integers(180, 9).reshape(60, 3) / 2 + np.array([[0, 0, 3], [3, 0, 0], [0, 3, 0], [2, 2, 2]])[
        classes
    ], classes


def confidences() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and whether the answers are right."""
    probabilities = (_integers(200, 11) + 2) / 4
    return probabilities, (_integers(200, 13) + 2) / 4 < probabilities**2
