"""True and false positive rates of the detectors, on models whose circuit is known and on random models.

| detector | planted in | true positive | false positive |
|---|---|---|---|
| `heads`: `detect_heads` | `copy`, `induction` | the planted head of a kind | any head of a random model, by kind |
| `attribution`: `attributed_components` | `copy`, `induction`, `modular-addition` | the component that writes the prediction | any component of a random model |
| `probes`: `cross_validate` | `modular-addition` | the sum is read from the stream after the block, which no linear probe of a and b can | it is read from a random model |
| `experts`: `identify_experts` | `routed-expert` | the planted expert as specialist of mathematics | any specialist of a random model |

A false positive counts a random model once, however many components are detected in it. Intervals are those of Wilson, 95 %.
"""

from collections.abc import Callable, Iterator, Sequence
from math import sqrt

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.circuits.attributed import Question, attributed_components
from lazarus_introspect.circuits.planted import (
    MODULUS,
    Circuit,
    PlantedModel,
    addition_first_token,
    planted_model,
    random_model,
)
from lazarus_introspect.experts.identify import IdentifyConfig, identify_experts
from lazarus_introspect.metrics import numbers
from lazarus_introspect.probing import LabelledPrompts, cross_validate, design
from lazarus_introspect.reading.attention import KINDS, detect_heads

DETECTORS = ("heads", "attribution", "probes", "experts")
RATE = 0.05
"""The rate that all detectors state."""
EXPERT_CONFIG = IdentifyConfig(rate=RATE, permutations=1999, token_permutations=99, random_routers=99)
"""Fewer permutations than the defaults: each model takes 0.3 s."""


class DetectorRate(Frozen):
    """The rates of one detector on one circuit."""

    detector: str
    """Such as `heads: induction`."""
    circuit: str
    """Layers of the models."""
    planted: int
    """Planted components."""
    found: int
    """Those that were detected."""
    random: int
    """Random models."""
    false: int
    """Random models in which something was detected."""
    rate: float
    """The stated false positive rate."""

    @property
    def true_positive_rate(self) -> float | None:
        """None if nothing of the kind was planted."""
        return self.found / self.planted if self.planted else None

    @property
    def false_positive_rate(self) -> float:
        """Share of random models in which something was detected."""
        return self.false / self.random

    @property
    def false_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the false positive rate."""
        return wilson(self.false, self.random)

    @property
    def true_interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the true positive rate."""
        return wilson(self.found, self.planted) if self.planted else None

    @property
    def is_as_stated(self) -> bool:
        """Whether everything planted was found, and the stated rate is not below the interval of false positives."""
        return self.found == self.planted and self.false_interval[0] <= self.rate


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927).

    Args:
        hits: Number of hits.
        total: Number of trials, at least 1.

    >>> [round(each, 3) for each in wilson(1, 20)]
    [0.009, 0.236]
    """
    z = 1.959963984540054
    share, square = hits / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z * sqrt(share * (1 - share) / total + square / total / 4) / (1 + square)
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == total else middle + half)


def detector_rates(
    *,
    planted: int = 5,
    random: int = 40,
    detectors: Sequence[str] = DETECTORS,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> list[DetectorRate]:
    """Runs the detectors on planted and random models.

    Args:
        planted: Models of each circuit.
        random: Random models with the layers of each circuit.
        detectors: Detectors to run.
        seed: First random seed, at least 0.
        progress: Called with the name of each circuit and detector; None for none.
    """
    found: list[DetectorRate] = []
    for name, circuit in _runs(detectors):
        if progress is not None:
            progress(f"{name} on {circuit}")
        own = [planted_model(circuit, seed=seed + number) for number in range(planted)]
        others = [random_model(circuit, seed=seed + number) for number in range(random)]
        run = {"heads": _heads, "attribution": _attribution, "probes": _probes, "experts": _experts}[name]
        found += run(circuit, own, others, seed)
    return found


def _runs(detectors: Sequence[str]) -> Iterator[tuple[str, Circuit]]:
    every: tuple[tuple[str, Circuit], ...] = (
        ("heads", "copy"),
        ("heads", "induction"),
        ("attribution", "copy"),
        ("attribution", "induction"),
        ("attribution", "modular-addition"),
        ("probes", "modular-addition"),
        ("experts", "routed-expert"),
    )
    return (each for each in every if each[0] in detectors)


def _heads(
    circuit: Circuit, planted: Sequence[PlantedModel], random: Sequence[PlantedModel], seed: int
) -> list[DetectorRate]:
    hits = dict.fromkeys(KINDS, 0)
    for model in planted:
        found = {(each.kind, each.layer, each.head) for each in detect_heads(model.lm, seed=seed) if each.detected}
        for kind in KINDS:
            hits[kind] += kind in model.heads and (kind, *model.heads[kind]) in found
    false = dict.fromkeys(KINDS, 0)
    for model in random:
        detected = {each.kind for each in detect_heads(model.lm, seed=seed) if each.detected}
        for kind in KINDS:
            false[kind] += kind in detected
    return [
        DetectorRate(
            detector=f"heads: {kind}",
            circuit=circuit,
            planted=sum(kind in model.heads for model in planted),
            found=hits[kind],
            random=len(random),
            false=false[kind],
            rate=RATE,
        )
        for kind in KINDS
    ]


def _attribution(
    circuit: Circuit, planted: Sequence[PlantedModel], random: Sequence[PlantedModel], seed: int
) -> list[DetectorRate]:
    def detected(model: PlantedModel, place: int) -> set[str]:
        asked = questions(model, seed=seed + place)
        return {each.name for each in attributed_components(model.lm, asked, rate=RATE, seed=seed) if each.detected}

    return [
        DetectorRate(
            detector="attribution",
            circuit=circuit,
            planted=len(planted),
            found=sum(model.component in detected(model, place) for place, model in enumerate(planted)),
            random=len(random),
            false=sum(bool(detected(model, place)) for place, model in enumerate(random)),
            rate=RATE,
        )
    ]


def questions(model: PlantedModel, *, seed: int, count: int = 24) -> list[Question]:
    """Prompts whose next token the circuit decides, each with another token that it does not decide for.

    Args:
        model: A model with the layers of `copy`, `induction` or `modular-addition`.
        seed: Random seed, at least 0.
        count: Prompts.
    """
    rng = np.random.default_rng([seed, 4])
    if model.circuit == "modular-addition":
        first = addition_first_token(model.lm)
        equals = first - 1
        pairs = rng.permutation(MODULUS**2)[:count]
        found: list[Question] = []
        for pair in pairs.tolist():
            a, b = divmod(pair, MODULUS)
            other = (a + b + int(rng.integers(1, MODULUS))) % MODULUS
            found.append(Question((first + a, first + b, equals), first + (a + b) % MODULUS, first + other))
        return found
    vocabulary = model.lm.config.vocab_size
    positives, negatives = rng.permutation(vocabulary)[:count], rng.permutation(vocabulary)
    return [
        _copied(
            model.circuit,
            rng,
            vocabulary,
            int(positive),
            int(next(n for n in np.roll(negatives, -place) if n != positive)),
        )
        for place, positive in enumerate(positives)
    ]


def _copied(circuit: Circuit, rng: np.random.Generator, vocabulary: int, positive: int, negative: int) -> Question:
    """A text in which the circuit predicts `positive`: before the last token, or after an earlier copy of it."""
    others = [token for token in rng.permutation(vocabulary).tolist() if token not in (positive, negative)][:12]
    if circuit == "copy":
        return Question((*others[:10], positive, others[10]), positive, negative)
    return Question((*others[:4], others[10], positive, *others[4:8], others[10]), positive, negative)


def _probes(
    circuit: Circuit, planted: Sequence[PlantedModel], random: Sequence[PlantedModel], seed: int
) -> list[DetectorRate]:
    """Whether a linear probe reads if the sum is small. Each a, and each b, has as many small sums: neither tells it."""
    pairs = [(a, b) for a in range(MODULUS) for b in range(MODULUS)]
    labels = LabelledPrompts(
        tuple(f"{a} {b}" for a, b in pairs), tuple("small" if (a + b) % MODULUS < 5 else "large" for a, b in pairs)
    )
    plan = design(labels, pairs, [a for a, _ in pairs], permutations=99, seed=seed)

    def reads(model: PlantedModel) -> bool:
        first = addition_first_token(model.lm)
        ids = [[first + a, first + b, first - 1] for a, b in pairs]
        _, cache = run_with_cache(model.lm, ids, "blocks.0.resid_post")
        return cross_validate(numbers(cache["resid_post", 0][:, -1]), plan).p <= RATE

    return [
        DetectorRate(
            detector="probes",
            circuit=circuit,
            planted=len(planted),
            found=sum(reads(model) for model in planted),
            random=len(random),
            false=sum(reads(model) for model in random),
            rate=RATE,
        )
    ]


def _experts(
    circuit: Circuit, planted: Sequence[PlantedModel], random: Sequence[PlantedModel], seed: int
) -> list[DetectorRate]:
    config = EXPERT_CONFIG.model_copy(update={"seed": seed})
    found = sum(
        model.expert in identify_experts(model.lm, layer_idx=0, config=config).specialists.get("math", [])
        for model in planted
    )
    false = sum(bool(identify_experts(model.lm, layer_idx=0, config=config).specialists) for model in random)
    return [
        DetectorRate(
            detector="experts",
            circuit=circuit,
            planted=len(planted),
            found=found,
            random=len(random),
            false=false,
            rate=RATE,
        )
    ]
