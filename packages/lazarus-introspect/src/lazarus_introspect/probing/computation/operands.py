"""Directions of operands: how the state at the end of `a op b =` depends on a and on b.

A, B = values of the operands, D = model width

States are split as h(a, b) = mean + left(a) + right(b) + interaction(a, b), the two-way analysis of variance.

| figure | meaning |
|---|---|
| shares | variance of the three parts, which sum to 1, with the shares that shuffled states have |
| angles | mean squared cosine of the principal angles between the spans of left(a) and right(b), 1 if one contains the other |
| value probe | R2 of a ridge probe for the value of an operand, at values and with other operands that it was not fitted to |
| identity probe | accuracy of a probe for which value it is, at other operands that it was not fitted to |

The value of an operand is no word: one-hot tokens by position (`lexical`) cannot tell the value of a token that the fit did
not see. A value probe above its shuffled values and above the lexical one shows that the state orders the values.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.pictures import Part, heatmap
from lazarus_introspect.probing.computation.operand_probes import identity_probe, one_hot_tokens, value_probe
from lazarus_introspect.probing.computation.problems import (
    TEMPLATE,
    Problem,
    Share,
    answer_problems,
    check_operator,
    check_template,
    check_values,
    share_of,
)
from lazarus_introspect.probing.features import read_features, site_names
from lazarus_introspect.probing.findings import LEVEL, PromptSetResult, about_set
from lazarus_introspect.probing.scores import permutation_p
from lazarus_introspect.statistics import benjamini_hochberg, sign_flip_p

Numbers = NDArray[np.float64]
_VARIANCE = 0.9
"""Share of the variance that the compared subspaces have."""
_SUBSPACES = 100


class Shares(NamedTuple):
    """Parts of the variance of states; they sum to 1."""

    left: float
    right: float
    interaction: float


def variance_shares(states: Numbers) -> Shares:
    """The two-way analysis of variance of a full grid.

    Args:
        states: (A, B, D); at least two values of each operand.
    """
    mean = states.mean(axis=(0, 1))
    left, right = states.mean(axis=1) - mean, states.mean(axis=0) - mean
    rest = states - mean - left[:, None] - right[None]
    parts = [len(right) * (left**2).sum(), len(left) * (right**2).sum(), (rest**2).sum()]
    total = sum(parts)
    return Shares(*(float(each / total) for each in parts)) if total > 0 else Shares(0.0, 0.0, 1.0)


def mean_squared_cosine(one: Numbers, other: Numbers) -> float:
    """The mean squared cosine of the principal angles between two spans, in [0, 1].

    Args:
        one: Orthonormal rows, (r, D).
        other: Orthonormal rows, (s, D).
    """
    count = min(len(one), len(other))
    return float(((one @ other.T) ** 2).sum() / count) if count else 0.0


def main_span(effects: Numbers) -> Numbers:
    """Orthonormal directions with 90 % of the variance of centred effects, (r, D).

    Args:
        effects: One row a value, (A, D).
    """
    _, s, right = np.linalg.svd(effects - effects.mean(axis=0), full_matrices=False)
    power = s**2
    if power.sum() == 0:
        return right[:0]
    kept = int(np.searchsorted(power.cumsum() / power.sum(), _VARIANCE - 1e-12)) + 1
    return right[:kept]


class OperandEvidence(Frozen):
    """What states tell about one operand."""

    operand: str
    """`left` or `right`."""
    value_r2: float
    """R2 at unseen values with unseen other operands."""
    shuffled_r2: float
    """Mean R2 of shuffled values."""
    lexical_r2: float | None
    """R2 of one-hot tokens; None without tokens."""
    p: float
    """Share of shuffles of the values that reach the R2."""
    q: float
    """Corrected over sites and operands."""
    lexical_p: float | None
    """p-value of the hypothesis that one-hot tokens are as good (sign flips of values)."""
    identity_accuracy: float
    """Accuracy at unseen other operands."""
    identity_chance: float
    identity_lexical: float | None

    @property
    def is_evident(self) -> bool:
        """Whether the value probe is above shuffled values and above one-hot tokens."""
        return self.q <= LEVEL and self.value_r2 > 0 and (self.lexical_p is None or self.lexical_p <= LEVEL)


class OperandFigures(Frozen):
    """The states of one site."""

    site: str
    left_share: float
    right_share: float
    interaction_share: float
    shuffled_interaction: float
    """Mean interaction share of states shuffled over the grid: what unrelated states give."""
    interaction_p: float
    """Share of shuffles with at most the observed interaction: small if the states depend on a and b additively."""
    cosine: float
    """Mean squared cosine between the spans of the operands."""
    random_cosine: float
    """The same of random spans of equal dimensions."""
    left_dimensions: int
    right_dimensions: int
    operands: tuple[OperandEvidence, OperandEvidence]


class OperandsResult(PromptSetResult):
    """Directions of operands at several sites."""

    operator: str
    values: tuple[int, ...]
    accuracy: Share
    """The model's right answers on the same problems."""
    sites: tuple[OperandFigures, ...]
    has_evidence: bool
    """Whether the model answers above the baseline and a value probe is evident."""
    conclusion: str

    def pictures(self) -> list[Part]:
        """Variance shares and the fit of both operands, with their nulls, by site."""
        figures: dict[str, list[float]] = {
            "share of the left operand": [each.left_share for each in self.sites],
            "share of the right operand": [each.right_share for each in self.sites],
            "share of the interaction": [each.interaction_share for each in self.sites],
            "interaction of shuffled states": [each.shuffled_interaction for each in self.sites],
            "squared cosine of the spans": [each.cosine for each in self.sites],
            "the same of random spans": [each.random_cosine for each in self.sites],
        }
        for place, name in enumerate(("left", "right")):
            evidence = [each.operands[place] for each in self.sites]
            figures[f"R2 of the {name} value"] = [each.value_r2 for each in evidence]
            figures[f"R2 of shuffled {name} values"] = [each.shuffled_r2 for each in evidence]
        return [
            heatmap(
                "Operands in the states",
                [[max(value, -1.0) for value in row] for row in figures.values()],
                rows=list(figures),
                columns=[each.site for each in self.sites],
                unit="share, cosine or R2",
                upwards="figure",
                across="site",
                is_diverging=True,
                note=f"Conclusion: {self.conclusion}. R2 below -1 is drawn as -1.",
            )
        ]


class OperandsConfig(Frozen):
    """Settings of an analysis of operands."""

    operator: str = "*"
    values: tuple[int, ...] = tuple(range(2, 10))
    """Values of both operands."""
    template: str = TEMPLATE
    """Prompt with {a}, {op} and {b}; it is a text to continue."""
    layers: tuple[int, ...] | None = None
    """Layers of the stream, 0 to L; None for all."""
    permutations: Annotated[int, Field(ge=19, le=10_000)] = 200
    """Shuffles of values and of states."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of shuffles and random spans."""


def operand_directions(analyzer: ModelAnalyzer, config: OperandsConfig | None = None) -> OperandsResult:
    """How the states of a model depend on the operands of a problem.

    Args:
        analyzer: The model.
        config: Settings; None for the defaults.

    Raises:
        RequestError: The operator is unknown, the template lacks a field, or there are too few values.
    """
    config = config or OperandsConfig()
    check_operator(config.operator)
    check_template(config.template)
    values = check_values(config.values)
    problems = [Problem(a, config.operator, b) for a in values for b in values]
    names = site_names(analyzer.lm, "resid", config.layers)
    answers = answer_problems(analyzer.lm, problems, config.template)
    accuracy = share_of(answers.is_right[:, -1], problems)
    rows = [each.ids for each in answers.prompts]
    features = read_features(analyzer.lm, rows, names)
    side = len(values)
    lexical = one_hot_tokens(rows).reshape(side, side, -1)
    found = [
        operand_figures(
            features[name, "last"].reshape(side, side, -1),
            values,
            site=name,
            lexical=lexical,
            permutations=config.permutations,
            seed=config.seed,
        )
        for name in names
    ]
    sites = corrected(found)
    evident = [f"{each.operand} operand at {site.site}" for site in sites for each in site.operands if each.is_evident]
    can = accuracy.p <= LEVEL
    if not can:
        conclusion = "no evidence: the model's answers are not above the baseline"
    elif not evident:
        conclusion = "no evidence: no probe for the value of an operand is above shuffled values and one-hot tokens"
    else:
        conclusion = f"evidence: the states order the values of the {', '.join(evident[:6])}" + (
            f" and {len(evident) - 6} more" if len(evident) > 6 else ""
        )
    return OperandsResult(
        **about_set(analyzer, "operand-directions", answers.prompts, config.model_dump(mode="json")),
        operator=config.operator,
        values=tuple(values),
        accuracy=accuracy,
        sites=sites,
        has_evidence=can and bool(evident),
        conclusion=conclusion,
    )


def corrected(sites: Sequence[OperandFigures]) -> tuple[OperandFigures, ...]:
    """The figures with p-values corrected over all sites and operands."""
    q = benjamini_hochberg(np.array([[each.p for each in site.operands] for site in sites]))
    return tuple(
        site.model_copy(
            update={
                "operands": tuple(
                    each.model_copy(update={"q": float(q[row, column])}) for column, each in enumerate(site.operands)
                )
            }
        )
        for row, site in enumerate(sites)
    )


def operand_figures(
    states: Numbers,
    values: Sequence[float],
    *,
    site: str = "",
    lexical: Numbers | None = None,
    permutations: int = 200,
    seed: int = 0,
) -> OperandFigures:
    """The figures of a grid of states.

    Args:
        states: State of each pair of operands, (A, A, D).
        values: Value of each row and column, (A,).
        site: Name of the site.
        lexical: One-hot tokens of each prompt, (A, A, V); None skips the comparison with them.
        permutations: Shuffles.
        seed: Random seed.
    """
    rng = np.random.default_rng([seed, 13])
    shares = variance_shares(states)
    flat = states.reshape(-1, states.shape[-1])
    shuffled = np.array(
        [
            variance_shares(flat[rng.permutation(len(flat))].reshape(states.shape)).interaction
            for _ in range(permutations)
        ]
    )
    spans = [main_span(states.mean(axis=axis)) for axis in (1, 0)]
    width = states.shape[-1]
    random = [
        mean_squared_cosine(*(np.linalg.qr(rng.standard_normal((width, len(each))))[0].T for each in spans))
        for _ in range(_SUBSPACES)
    ]
    operands = tuple(
        _operand(name, grid, None if tokens is None else tokens, values, permutations, seed)
        for name, grid, tokens in (
            ("left", states, lexical),
            ("right", states.swapaxes(0, 1), None if lexical is None else lexical.swapaxes(0, 1)),
        )
    )
    return OperandFigures(
        site=site,
        left_share=shares.left,
        right_share=shares.right,
        interaction_share=shares.interaction,
        shuffled_interaction=float(shuffled.mean()),
        interaction_p=permutation_p(-shares.interaction, -shuffled),
        cosine=mean_squared_cosine(spans[0], spans[1]),
        random_cosine=float(np.mean(random)),
        left_dimensions=len(spans[0]),
        right_dimensions=len(spans[1]),
        operands=(operands[0], operands[1]),
    )


def _operand(
    name: str, states: Numbers, lexical: Numbers | None, values: Sequence[float], permutations: int, seed: int
) -> OperandEvidence:
    """Probes of the first operand of a grid."""
    rng = np.random.default_rng([seed, 14])
    true = np.asarray(values, float)
    labels = np.stack([true, *(rng.permutation(true) for _ in range(permutations))], axis=1)  # (A, P)
    score, errors = value_probe(states, labels)
    word_score = word_errors = None
    if lexical is not None:
        word_score, word_errors = value_probe(lexical, labels[:, :1])
    better = None
    if word_errors is not None:
        better = float(sign_flip_p((word_errors - errors[:, :1]), seed=seed, permutations=4000)[0])
    return OperandEvidence(
        operand=name,
        value_r2=float(score[0]),
        shuffled_r2=float(score[1:].mean()),
        lexical_r2=None if word_score is None else float(word_score[0]),
        p=(p := permutation_p(float(score[0]), score[1:])),
        q=p,
        lexical_p=better,
        identity_accuracy=identity_probe(states),
        identity_chance=1 / len(true),
        identity_lexical=None if lexical is None else identity_probe(lexical),
    )
