"""Commuted pairs: whether the states of `a op b =` and `b op a =` are alike because the operation commutes.

n = prompts with different operands, A = values, D = model width

For a pair (a, b), c is the cosine of its centred state with that of (b, a), minus the mean cosine with the prompts that share
exactly one operand with it. A model that ignores the order of tokens has a large c for any symbol between the operands, so
c alone shows nothing about arithmetic. The control symbols settle it: the same grid with symbols that are no commutative
operator (`-`, `/`, punctuation, letters). Under the hypothesis that the operator is one symbol among others, its c is
exchangeable with theirs, and its rank is an exact p-value. The last streams hold the answer, which commutes in every model that
answers: evidence there alone is no more than that, so look at the sites.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import read_prompt
from lazarus_introspect.errors import RequestError
from lazarus_introspect.pictures import Part, heatmap
from lazarus_introspect.probing.computation.problems import (
    TEMPLATE,
    Answers,
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
from lazarus_models import LoadedModel

Numbers = NDArray[np.float64]
CONTROLS = tuple("-/!#$%&'(),.:;<>?@[]^_|~\\\"`wqkjhgbcdefilmn")
"""Symbols that are no commutative operator; `x` and `=` are left out."""


class Matched(NamedTuple):
    """Pairs of different values, each with its commuted pair and its matched ones; indices into the pairs."""

    pairs: list[tuple[int, int]]
    partner: NDArray[np.int64]
    """(n,)."""
    shares_one: NDArray[np.bool_]
    """Whether two pairs share exactly one operand, (n, n)."""


def matched_pairs(count: int) -> Matched:
    """All ordered pairs of different values.

    Args:
        count: Number of values, at least 3.
    """
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    place = {pair: number for number, pair in enumerate(pairs)}
    partner = np.array([place[b, a] for a, b in pairs])
    shares = np.array([[len({*one} & {*other}) == 1 for other in pairs] for one in pairs])
    return Matched(pairs, partner, shares)


class PairFigures(NamedTuple):
    """How alike commuted pairs are in one grid of states."""

    advantage: float
    """Mean c."""
    auc: float
    """Chance that the commuted pair is nearer than a matched one, in [0, 1]."""
    p: float
    """Share of draws in which matched pairs, put in the place of the commuted ones, reach the advantage."""


def pair_figures(states: Numbers, *, permutations: int = 200, seed: int = 0) -> PairFigures:
    """The likeness of commuted pairs in a full grid.

    Args:
        states: (A, A, D).
        permutations: Draws of the null.
        seed: Random seed.
    """
    known = matched_pairs(len(states))
    centred = states - states.mean(axis=(0, 1))
    rows = np.stack([centred[pair] for pair in known.pairs])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / np.where(norms > 1e-12 * max(float(norms.max()), 1e-300), norms, np.inf)
    cosines = units @ units.T
    own = cosines[np.arange(len(rows)), known.partner]
    means = (cosines * known.shares_one).sum(axis=1) / known.shares_one.sum(axis=1)
    advantage = float((own - means).mean())
    above = (own[:, None] > cosines) + 0.5 * (own[:, None] == cosines)
    auc = float((above * known.shares_one).sum() / known.shares_one.sum())
    rng = np.random.default_rng([seed, 15])
    candidates = np.stack(
        [[*np.flatnonzero(shares), partner] for shares, partner in zip(known.shares_one, known.partner, strict=True)]
    )
    is_first = np.array([a < b for a, b in known.pairs])
    first = np.flatnonzero(is_first)  # the cosine is that of both orders, so one draw for an unordered pair
    drawn = rng.integers(0, candidates.shape[1], (permutations, len(first)))
    picked = cosines[first[None], candidates[first[None], drawn]]
    null = (picked - means[first]).mean(axis=1)
    return PairFigures(advantage, auc, permutation_p(float((own - means)[first].mean()), null))


class SiteCommutativity(Frozen):
    """Commuted pairs at one site."""

    site: str
    advantage: float
    """Mean c of the operator."""
    auc: float
    p: float
    """Against matched pairs of the same operator: also small for any model that ignores order."""
    control_mean: float
    """Mean c of the control symbols."""
    control_high: float
    """Their largest c."""
    control_p: float
    """Rank of the operator's c among them, at this site alone."""


class Behaviour(Frozen):
    """Whether the model's answers commute."""

    accuracy: Share
    agreement: float
    """Share of commuted pairs with the same most probable first token."""
    matched_agreement: float
    """The same of matched pairs."""
    margin_difference: float
    """Mean absolute difference of the answer's logit margin between commuted pairs."""
    matched_margin_difference: float


class CommutativityResult(PromptSetResult):
    """Likeness of commuted pairs at several sites."""

    operator: str
    values: tuple[int, ...]
    controls: tuple[str, ...]
    """Control symbols, with as many tokens as the operator."""
    behaviour: Behaviour
    sites: tuple[SiteCommutativity, ...]
    p: float
    """Rank of the operator among the control symbols by its largest standardised c over all sites: one test."""
    has_evidence: bool
    """Whether answers are above the baseline, c is above the control symbols, and above matched pairs somewhere."""
    conclusion: str

    def pictures(self) -> list[Part]:
        """The advantage of commuted pairs at each site, with that of the control symbols."""
        figures = {
            f"advantage of {self.operator}": [each.advantage for each in self.sites],
            "control symbols, mean": [each.control_mean for each in self.sites],
            "control symbols, largest": [each.control_high for each in self.sites],
        }
        details = [[f"control p {each.control_p:.2g}, AUC {each.auc:.3f}" for each in self.sites]] * len(figures)
        return [
            heatmap(
                "Likeness of commuted pairs",
                list(figures.values()),
                rows=list(figures),
                columns=[each.site for each in self.sites],
                details=details,
                unit="cosine above matched pairs",
                upwards="figure",
                across="site",
                is_diverging=True,
                note=f"Conclusion: {self.conclusion}; p = {self.p:.2g} over all sites.",
            )
        ]


class CommutativityConfig(Frozen):
    """Settings of an analysis of commuted pairs."""

    operator: str = "*"
    """`*` or `+`."""
    values: tuple[int, ...] = tuple(range(2, 10))
    """Values of both operands."""
    template: str = TEMPLATE
    """Prompt with {a}, {op} and {b}; it is a text to continue."""
    layers: tuple[int, ...] | None = None
    """Layers of the stream, 0 to L; None for all."""
    controls: Annotated[int, Field(ge=19, le=len(CONTROLS))] = 39
    """Control symbols; the smallest p-value is 1 / (controls + 1)."""
    permutations: Annotated[int, Field(ge=19, le=10_000)] = 200
    """Draws of matched pairs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed."""


def commutativity(analyzer: ModelAnalyzer, config: CommutativityConfig | None = None) -> CommutativityResult:
    """Whether commuted problems have like states, beyond what other symbols between the operands give.

    Args:
        analyzer: The model.
        config: Settings; None for the defaults.

    Raises:
        RequestError: The operator does not commute, the template lacks a field, or there are too few values.
    """
    config = config or CommutativityConfig()
    check_operator(config.operator, is_commutative=True)
    check_template(config.template)
    values = check_values(config.values)
    names = site_names(analyzer.lm, "resid", config.layers)
    problems = [Problem(a, config.operator, b) for a in values for b in values]
    answers = answer_problems(analyzer.lm, problems, config.template)
    own = _figures(analyzer.lm, config.operator, values, names, config)
    controls = control_symbols(analyzer.lm, config)
    others = [_figures(analyzer.lm, symbol, values, names, config) for symbol in controls]
    table = np.array([[figures[name].advantage for name in names] for figures in (own, *others)])
    sites = tuple(
        SiteCommutativity(
            site=name,
            advantage=own[name].advantage,
            auc=own[name].auc,
            p=own[name].p,
            control_mean=float(table[1:, place].mean()),
            control_high=float(table[1:, place].max()),
            control_p=permutation_p(own[name].advantage, table[1:, place]),
        )
        for place, name in enumerate(names)
    )
    p = largest_p(table)
    behaviour = _behaviour(answers, problems, len(values))
    can, differs = behaviour.accuracy.p <= LEVEL, any(each.p <= LEVEL for each in sites)
    if not can:
        conclusion = "no evidence: the model's answers are not above the baseline"
    elif p > LEVEL or not differs:
        conclusion = (
            f"no evidence: commuted states are no more alike than with other symbols between the operands (p {p:.3f})"
        )
    else:
        conclusion = (
            f"evidence: commuted states are more alike than with other symbols between the operands (p {p:.3f})"
        )
    return CommutativityResult(
        **about_set(analyzer, "commutativity", answers.prompts, config.model_dump(mode="json")),
        operator=config.operator,
        values=tuple(values),
        controls=tuple(controls),
        behaviour=behaviour,
        sites=sites,
        p=p,
        has_evidence=can and differs and p <= LEVEL,
        conclusion=conclusion,
    )


def largest_p(table: Numbers) -> float:
    """The rank of the first row by its largest standardised value; every row is standardised by the others alike.

    Args:
        table: Likeness of each symbol at each site, the operator first, (symbols, sites).
    """
    scores: list[float] = []
    for place in range(len(table)):
        others = np.delete(table, place, axis=0)
        spread = np.maximum(others.std(axis=0), 1e-12)
        scores.append(float(((table[place] - others.mean(axis=0)) / spread).max()))
    return permutation_p(scores[0], scores[1:])


def control_symbols(lm: LoadedModel, config: CommutativityConfig) -> list[str]:
    """Symbols that give as many tokens as the operator and different ones (not all unknown), in a seeded order.

    Args:
        lm: The model.
        config: Settings.

    Raises:
        RequestError: There are fewer of them than `controls`.
    """

    def ids(symbol: str) -> tuple[int, ...]:
        return read_prompt(lm, Problem(3, symbol, 4).text(config.template), raw=True).ids

    rng = np.random.default_rng([config.seed, 16])
    own = ids(config.operator)
    by_ids = {ids(CONTROLS[int(place)]): CONTROLS[int(place)] for place in rng.permutation(len(CONTROLS)).tolist()}
    found = [symbol for tokens, symbol in by_ids.items() if len(tokens) == len(own) and tokens != own]
    if len(found) < config.controls:
        raise RequestError(
            f"{len(found)} symbols have as many tokens as the operator and differ, and `controls` asks for {config.controls}: give "
            "a smaller number, or change `template`",
            "LI-E089",
        )
    return found[: config.controls]


def _figures(
    lm: LoadedModel, symbol: str, values: Sequence[int], names: Sequence[str], config: CommutativityConfig
) -> Mapping[str, PairFigures]:
    """The likeness of commuted pairs with one symbol, at each site."""
    texts = [Problem(a, symbol, b).text(config.template) for a in values for b in values]
    rows = [read_prompt(lm, text, raw=True).ids for text in texts]
    features = read_features(lm, rows, names)
    side = len(values)
    return {
        name: pair_figures(
            features[name, "last"].reshape(side, side, -1), permutations=config.permutations, seed=config.seed
        )
        for name in names
    }


def _behaviour(answers: Answers, problems: Sequence[Problem], side: int) -> Behaviour:
    known = matched_pairs(side)
    flat = np.array([a * side + b for a, b in known.pairs])
    tops, margins = answers.tops[flat], answers.margins[flat]
    same = tops[:, None] == tops[None]
    apart = np.abs(margins[:, None] - margins[None])
    rows = np.arange(len(flat))
    return Behaviour(
        accuracy=share_of(answers.is_right[:, -1], problems),
        agreement=float(same[rows, known.partner].mean()),
        matched_agreement=float(same[known.shares_one].mean()),
        margin_difference=float(apart[rows, known.partner].mean()),
        matched_margin_difference=float(apart[known.shares_one].mean()),
    )
