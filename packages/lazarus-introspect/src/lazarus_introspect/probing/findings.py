"""Results of probing: frozen numbers with their baselines, nulls and provenance.

`prompt`, `ids` and `tokens` of these results are those of the first prompt; `prompts` and `prompt_ids` list all.
"""

from collections.abc import Sequence
from typing import Any

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.results import Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Prompt, read_prompt
from lazarus_introspect.pictures import Part, bars, heatmap, visible
from lazarus_introspect.probing.cross_validation import ProbeFigures

LEVEL = 0.05
"""A claim needs p-values, corrected where several are tested, of at most this."""


class PromptSetResult(Result):
    """Base of results of several prompts."""

    prompts: tuple[str, ...]
    prompt_ids: tuple[tuple[int, ...], ...]
    """Token ids of each prompt."""

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        return super().about() | {"Prompts": f"{len(self.prompts):,}; the first is shown"}


def read_prompts(analyzer: ModelAnalyzer, prompts: Sequence[str], *, raw: bool) -> list[Prompt]:
    """Encodes prompts.

    Args:
        analyzer: The model.
        prompts: Texts.
        raw: Whether they are texts to continue, without a chat template.
    """
    return [read_prompt(analyzer.lm, text, raw=raw) for text in prompts]


def about_set(
    analyzer: ModelAnalyzer, analysis: str, prompts: Sequence[Prompt], request: dict[str, Any]
) -> dict[str, Any]:
    """The fields that all results of several prompts share.

    Args:
        analyzer: The model.
        analysis: Name of the analysis.
        prompts: The prompts, at least one.
        request: Everything else that was asked.
    """
    return {
        **analyzer.about(analysis, prompts[0], request),
        "prompts": tuple(each.text for each in prompts),
        "prompt_ids": tuple(each.ids for each in prompts),
    }


class ProbeScore(Frozen):
    """A cross-validated probe, with its nulls."""

    target: str
    """What is predicted."""
    features: str
    """Site, or `bag of tokens`."""
    pooling: str
    """`last`, `last_varying` or `mean`; `count` of a bag of tokens."""
    measure: str
    """`balanced accuracy`, or `R2` for numbers."""
    score: float
    low: float
    """95 % interval."""
    high: float
    baseline: float
    """Score of a constant prediction: 1 / classes, or 0."""
    shuffled: float
    """Mean score of shuffled labels."""
    shuffled_high: float
    """95 % quantile of the scores of shuffled labels."""
    control: float
    """Score of the control task: a random label for each token type."""
    selectivity: float
    """`score` - `control`."""
    p: float
    """Share of shuffles that reach the score."""
    q: float
    """p-value corrected over all probes of the result (Benjamini-Hochberg)."""
    lexical_q: float | None
    """Corrected p-value of the hypothesis that a bag of tokens is as good; None for the bag itself."""
    recalls: dict[str, float]
    """Recall of each class; none for numbers."""
    penalty: float
    """L2 penalty as a factor of the number of features, median over the folds."""

    @property
    def is_above_lexical(self) -> bool:
        """Whether it is significantly better than shuffled labels and than a bag of tokens."""
        return self.lexical_q is not None and self.q <= LEVEL and self.lexical_q <= LEVEL

    @property
    def verdict(self) -> str:
        """What the numbers allow to say."""
        if self.q > LEVEL:
            return "chance"
        if self.lexical_q is None:
            return "above chance"
        return "above the bag of tokens" if self.is_above_lexical else "not above the bag of tokens"


def probe_score(
    target: str, key: tuple[str, str], figures: ProbeFigures, names: Sequence[str], q: float, lexical_q: float | None
) -> ProbeScore:
    """A probe's figures as a result.

    Args:
        target: What is predicted.
        key: Features and pooling.
        figures: The figures.
        names: Classes; none for numbers.
        q: Corrected p-value.
        lexical_q: Corrected p-value against the bag of tokens.
    """
    return ProbeScore(
        target=target,
        features=key[0],
        pooling=key[1],
        measure="balanced accuracy" if names else "R2",
        score=figures.score,
        low=figures.interval.low,
        high=figures.interval.high,
        baseline=1 / len(names) if names else 0.0,
        shuffled=figures.shuffled_mean,
        shuffled_high=figures.shuffled_high,
        control=figures.control,
        selectivity=figures.selectivity,
        p=figures.p,
        q=q,
        lexical_q=lexical_q,
        recalls=dict(zip(names, figures.recalls, strict=True)) if names else {},
        penalty=figures.penalty,
    )


def score_map(title: str, scores: Sequence[ProbeScore]) -> Part:
    """Scores of probes with their nulls, as a map.

    Args:
        title: What the probes are of.
        scores: The probes, at least one.
    """
    fields = {
        "score": [each.score for each in scores],
        "interval, low": [each.low for each in scores],
        "interval, high": [each.high for each in scores],
        "shuffled labels, 95 %": [each.shuffled_high for each in scores],
        "control task": [each.control for each in scores],
        "selectivity": [each.selectivity for each in scores],
    }
    details = [f"q {each.q:.2g}, {each.verdict}" for each in scores]
    return heatmap(
        title,
        list(fields.values()),
        rows=list(fields),
        columns=[f"{each.features} {each.pooling}" for each in scores],
        details=[details] * len(fields),
        unit=scores[0].measure,
        upwards="figure",
        across="features",
        is_diverging=True,
    )


class Prediction(Frozen):
    """What the best probe, fitted to all prompts, says of another prompt."""

    prompt: str
    label: str | float
    outputs: dict[str, float]
    """Output for each class; none for numbers."""


class DirectionFigures(Frozen):
    """A direction between two classes."""

    site: str
    method: str
    negative: str
    positive: str
    norm: float
    effect: float
    """Cohen's d along the direction, in the prompts that define it: an overestimate."""


class ProbeResult(PromptSetResult):
    """Linear probes of labelled prompts at several sites."""

    labels: tuple[str | float, ...]
    classes: dict[str, int]
    """Prompts of each class; none for numbers."""
    majority: float | None
    """Share of the most frequent class: the plain accuracy of always naming it; None for numbers."""
    different: int
    """Different prompts; copies stay in one fold."""
    token_types: int
    """Types of the control task."""
    lexical: ProbeScore
    """A probe of the counts of all tokens: the ceiling of what words alone tell a linear probe."""
    probes: tuple[ProbeScore, ...]
    best: int
    """Index of the probe with the best score; the score of a best one is an overestimate."""
    predictions: tuple[Prediction, ...]
    direction: DirectionFigures | None
    """None unless one was asked for."""

    def pictures(self) -> list[Part]:
        """The scores of all probes with their nulls."""
        return [score_map("Probes, and the bag of tokens", [self.lexical, *self.probes])]


class EmbeddingResult(PromptSetResult):
    """What the token embeddings of a prompt tell about its task and its numbers."""

    classes: dict[str, int]
    probes: tuple[ProbeScore, ...]
    """Probes of embeddings, for each target."""
    lexical: tuple[ProbeScore, ...]
    """The bag of tokens, for each target."""

    @property
    def claims(self) -> tuple[ProbeScore, ...]:
        """Probes that are better than a bag of tokens."""
        return tuple(each for each in self.probes if each.is_above_lexical)

    def pictures(self) -> list[Part]:
        """The scores for each target, with their nulls."""
        targets = dict.fromkeys(each.target for each in self.probes)
        every = (*self.lexical, *self.probes)
        return [
            score_map(f"Probes of {target}", [each for each in every if each.target == target]) for target in targets
        ]


class SelectiveNeuron(Frozen):
    """A neuron that prefers, or avoids, a class."""

    site: str
    neuron: int
    label: str
    auc: float
    """Chance that a prompt of the class activates it more than another one, in [0, 1]."""
    p: float
    q: float
    mean: float
    """Mean activation in the class."""
    other_mean: float


class NeuronsResult(PromptSetResult):
    """Rank tests of neurons."""

    labels: tuple[str, ...]
    tested: int
    """Tests: neurons, sites and classes."""
    significant: int
    """Tests with q <= 0.05."""
    expected_by_chance: float
    """Tests with p <= 0.05 that chance gives."""
    uncorrected: int
    """Tests with p <= 0.05."""
    neurons: tuple[SelectiveNeuron, ...]
    """The strongest significant ones, by p-value."""

    def pictures(self) -> list[Part]:
        """The selective neurons as bars."""
        note = (
            f"{self.significant:,} of {self.tested:,} tests with q <= 0.05; {self.uncorrected:,} with p <= 0.05, by chance "
            f"{self.expected_by_chance:,.0f}."
        )
        shown = {f"{each.site} {each.neuron}: {each.label}": each.auc - 0.5 for each in self.neurons}
        return [bars("Selective neurons", shown, unit="AUC minus 0.5", note=note)]


class SiteClusters(Frozen):
    """Clusters at one site."""

    site: str
    silhouette: float
    null_mean: float
    """Mean silhouette of clusters in normal states with the same mean and covariance."""
    null_high: float
    """95 % quantile."""
    p: float
    q: float
    assigned: tuple[int, ...]
    """Cluster of each prompt, from 0."""
    agreement: float | None
    """Adjusted Rand index with the labels; None without labels."""
    agreement_p: float | None
    """Share of shuffled labels with at least this agreement."""


class ClustersResult(PromptSetResult):
    """Clusters of prompts."""

    labels: tuple[str, ...] | None
    sites: tuple[SiteClusters, ...]

    def pictures(self) -> list[Part]:
        """Silhouettes with their null, and the cluster of each prompt."""
        names = [each.site for each in self.sites]
        figures = {
            "silhouette": [each.silhouette for each in self.sites],
            "null, mean": [each.null_mean for each in self.sites],
            "null, 95 %": [each.null_high for each in self.sites],
        }
        details = [[f"q {each.q:.2g}" for each in self.sites]] * len(figures)
        said = self.labels or self.prompts
        return [
            heatmap(
                "Silhouette of the clusters",
                list(figures.values()),
                rows=list(figures),
                columns=names,
                details=details,
                unit="silhouette",
                upwards="figure",
                across="site",
                is_diverging=True,
            ),
            heatmap(
                "Cluster of each prompt",
                [[float(cluster) for cluster in each.assigned] for each in self.sites],
                rows=names,
                columns=[f"{place} {visible(text, 16)}" for place, text in enumerate(said)],
                unit="cluster",
                upwards="site",
                across="prompt",
            ),
        ]
