"""Results of the analyses of experts: frozen numbers with their provenance and request, as JSON."""

import numpy as np

from lazarus_introspect.analysis.results.base import BaseResult, Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.experts.alike import LayerSimilarity
from lazarus_introspect.experts.balance import ExpertUtilization, Repetition, RouterEntropy
from lazarus_introspect.experts.contribution import ExpertVocabulary
from lazarus_introspect.experts.identify import ExpertIdentification
from lazarus_introspect.experts.joint_use import Coactivation, Transition
from lazarus_introspect.pictures import Part, bars, heatmap, lines, table, token_labels, visible


class TextIds(Frozen):
    """A text of the analysis."""

    label: str
    text: str
    ids: tuple[int, ...]


class TextsResult(BaseResult):
    """Base of results of several texts."""

    texts: tuple[TextIds, ...]

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        labels = ", ".join(sorted({each.label for each in self.texts}))
        tokens = sum(len(each.ids) for each in self.texts)
        return super().about() | {"Texts": f"{len(self.texts):,} of {visible(labels, 200)}; {tokens:,} tokens"}


class LayerRoute(Frozen):
    """The experts of each token in one block."""

    layer: int
    num_experts: int
    experts: tuple[tuple[int, ...], ...]
    """Chosen experts of each token, by descending share, (T, k)."""
    weights: tuple[tuple[float, ...], ...]
    """Their shares, (T, k)."""
    probabilities: tuple[tuple[float, ...], ...]
    """The router's distribution over all experts, (T, E)."""
    entropy: RouterEntropy


class RouteResult(Result):
    """The experts of each token of a prompt."""

    layers: tuple[LayerRoute, ...]

    def pictures(self) -> list[Part]:
        """The router's distribution of each token in each block as maps."""
        tokens = token_labels(self.tokens)
        return [
            heatmap(
                f"Probability of each expert in layer {each.layer}",
                np.array(each.probabilities).T,
                rows=[str(expert) for expert in range(each.num_experts)],
                columns=tokens,
                details=[
                    [
                        f"chosen, share {each.weights[place][each.experts[place].index(expert)]:.3f}"
                        if expert in each.experts[place]
                        else "not chosen"
                        for place in range(len(tokens))
                    ]
                    for expert in range(each.num_experts)
                ],
                unit="probability",
                upwards="expert",
                across="token",
                note=f"Normalised entropy of the router {each.entropy.normalized_entropy:.3f}.",
            )
            for each in self.layers
        ]


class LayerUtilization(Frozen):
    """Balance, certainty and repetition of one block."""

    utilization: ExpertUtilization
    entropy: RouterEntropy
    repetition: Repetition | None
    """None if no text has two tokens."""


class UtilizationResult(TextsResult):
    """How evenly texts use the experts of each block."""

    layers: tuple[LayerUtilization, ...]

    def pictures(self) -> list[Part]:
        """The shares of the experts as bars, and balance over the blocks as lines."""
        found: list[Part] = [
            bars(
                f"Share of the choices of each expert in layer {each.utilization.layer}",
                {f"expert {expert}": share for expert, share in enumerate(each.utilization.shares)},
                unit="share of choices",
                note=f"Uniform is {1 / each.utilization.num_experts:.3f}.",
                most=256,
            )
            for each in self.layers
        ]
        series = {
            "load balance": [each.utilization.load_balance_score for each in self.layers],
            "load balance of random choices": [each.utilization.load_balance_baseline for each in self.layers],
            "router entropy": [each.entropy.normalized_entropy for each in self.layers],
        }
        layers = [each.utilization.layer for each in self.layers]
        return [*found, lines("Balance and certainty over layers", series, steps=layers, unit="0 to 1")]


class CoactivationResult(TextsResult):
    """Experts that are used by the same tokens."""

    layers: tuple[Coactivation, ...]

    def pictures(self) -> list[Part]:
        """The rates of each block as a map."""
        return [
            heatmap(
                f"Share of the tokens of an expert that also use another, in layer {each.layer}",
                [[np.nan if i == j else rate for j, rate in enumerate(row)] for i, row in enumerate(each.rates)],
                rows=[str(expert) for expert in range(len(each.rates))],
                columns=[str(expert) for expert in range(len(each.rates))],
                unit="rate",
                upwards="tokens of expert",
                across="also use",
                note=f"A random router has {each.baseline:.3f} everywhere.",
            )
            for each in self.layers
        ]


class SpecialistsResult(TextsResult):
    """Specialists of labels and preferred tokens."""

    layers: tuple[ExpertIdentification, ...]

    def pictures(self) -> list[Part]:
        """The lift of each expert and label as a map; significant ones are marked."""
        found: list[Part] = []
        for layer in self.layers:
            cells = [{each.label: each for each in own.labels} for own in layer.expert_identities]
            found.append(
                heatmap(
                    f"Preference of each expert for a label in layer {layer.layer_idx}",
                    [[row[label].lift - 1 for label in layer.labels] for row in cells],
                    rows=[f"{own.expert_idx} {own.kind}" for own in layer.expert_identities],
                    columns=list(layer.labels),
                    texts=[
                        [
                            f"{row[label].lift:.2f}" + ("*" if row[label].is_significant else "")
                            for label in layer.labels
                        ]
                        for row in cells
                    ],
                    details=[
                        [f"q {row[label].q:.2g}, random routers p {row[label].router_p:.2g}" for label in layer.labels]
                        for row in cells
                    ],
                    unit="lift minus 1",
                    upwards="expert",
                    across="label",
                    is_diverging=True,
                    note=f"*: a specialist, at a false-discovery rate of {layer.config.rate:g} and above random routers.",
                )
            )
        return found


class PipelineResult(TextsResult):
    """How experts of one block follow those of the block before."""

    transitions: tuple[Transition, ...]

    def pictures(self) -> list[Part]:
        """The tokens of each pair of first choices as maps."""
        return [
            heatmap(
                f"Expert of layer {each.second_layer} after that of layer {each.first_layer}",
                each.counts,
                rows=[str(expert) for expert in range(len(each.counts))],
                columns=[str(expert) for expert in range(len(each.counts[0]))],
                unit="tokens",
                upwards=f"layer {each.first_layer}",
                across=f"layer {each.second_layer}",
                note=f"Information {each.information:.3f}, shuffled {each.shuffled:.3f}, p {each.p:.3g}.",
            )
            for each in self.transitions
        ]


class VocabularyResult(TextsResult):
    """Tokens that each expert makes more probable."""

    layers: tuple[ExpertVocabulary, ...]

    def pictures(self) -> list[Part]:
        """The raised tokens of each expert as a table."""
        return [
            table(
                f"Tokens that the experts of layer {layer.layer} raise",
                ["expert", "tokens", "consistency", "random", "raised tokens"],
                [
                    [
                        str(each.expert),
                        f"{each.tokens:,}",
                        f"{each.consistency:.3f}",
                        f"{each.consistency_baseline:.3f}",
                        ", ".join(f"{visible(own.token)} {own.logit:+.2f}" for own in each.raised),
                    ]
                    for each in layer.experts
                ],
                note="Logits of the mean output above the mean of the vocabulary.",
            )
            for layer in self.layers
        ]


class SimilarityResult(TextsResult):
    """Experts that compute nearly the same."""

    layers: tuple[LayerSimilarity, ...]

    def pictures(self) -> list[Part]:
        """The cosines of each block as a map."""
        return [
            heatmap(
                f"Mean cosine of the outputs of experts in layer {each.layer}",
                [[np.nan if i == j else value for j, value in enumerate(row)] for i, row in enumerate(each.similarity)],
                rows=[str(expert) for expert in range(each.num_experts)],
                columns=[str(expert) for expert in range(each.num_experts)],
                details=[[f"other tokens {value:.3f}" for value in row] for row in each.baseline],
                unit="cosine",
                upwards="expert",
                across="expert",
                is_diverging=True,
                note=f"{each.num_merged} of {each.num_experts} experts would remain after merging.",
            )
            for each in self.layers
        ]


class ExpertEffect(Frozen):
    """The change of the next-token distribution without one expert."""

    layer: int
    expert: int
    used: int
    """Tokens of the prompt that chose it."""
    kl: float
    """KL(clean || ablated) of the next token, nats."""
    top_token: str
    top_changed: bool
    logprob_change: float
    """Change of the log-probability of the clean run's prediction, nats."""


class ExpertAblationResult(Result):
    """The effect of each expert on the next token of a prompt."""

    mode: str
    predicted: str
    experts: tuple[ExpertEffect, ...]

    def pictures(self) -> list[Part]:
        """The effect of each expert as a map."""
        layers = sorted({each.layer for each in self.experts})
        experts = sorted({each.expert for each in self.experts})
        matrix = np.full((len(layers), len(experts)), np.nan)
        for each in self.experts:
            matrix[layers.index(each.layer), experts.index(each.expert)] = each.kl
        return [
            heatmap(
                f"Effect of each expert on the next token, by {self.mode}",
                matrix,
                rows=[str(layer) for layer in layers],
                columns=[str(expert) for expert in experts],
                unit="KL, nats",
                upwards="layer",
                across="expert",
            )
        ]
