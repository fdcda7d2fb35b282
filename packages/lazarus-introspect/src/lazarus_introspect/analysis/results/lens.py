"""Results of a logit lens, of one model and of two.

Layer 0 is the stream that enters the first block, layer L the model's output.
"""

from collections.abc import Sequence

import numpy as np

from lazarus_introspect.analysis.provenance import Provenance
from lazarus_introspect.analysis.results.base import Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Token
from lazarus_introspect.pictures import Part, heatmap, lines, token_labels, visible


class TokenProbability(Frozen):
    """A predicted token."""

    token: str
    id: int
    probability: float


class LayerPrediction(Frozen):
    """What the lens reads from one layer."""

    layer_idx: int
    """From 0 to L."""
    top_tokens: tuple[TokenProbability, ...]
    entropy: float
    """As a share of the logarithm of the vocabulary, in [0, 1]."""
    kl_to_final: float
    """KL(layer || model's output), nats."""
    js_to_previous: float
    """Jensen-Shannon divergence to the layer before, nats, in [0, log 2]."""

    @property
    def top_token(self) -> str:
        """The most probable token."""
        return self.top_tokens[0].token

    @property
    def top_probability(self) -> float:
        """Its probability."""
        return self.top_tokens[0].probability


class TokenEvolution(Frozen):
    """A token over all layers, from 0 to L."""

    tracked: Token
    ranks: tuple[int, ...]
    """1 + the number of strictly larger logits."""
    probabilities: tuple[float, ...]
    first_top1_layer: int | None
    """First layer in which it has rank 1."""
    emergence_layer: int | None
    """First layer from which on it keeps rank 1; None unless it is the model's prediction."""
    first_probable_layer: int | None
    """First layer in which its probability reaches the threshold of the request."""

    @property
    def token(self) -> str:
        """The text that was asked for."""
        return self.tracked.text


class LensGrid(Frozen):
    """What the lens reads from each listed layer at every position; S = listed layers, T = positions, K = tokens."""

    layers: tuple[int, ...]
    """(S,)"""
    ids: tuple[tuple[tuple[int, ...], ...], ...]
    """The most probable tokens, (S, T, K)."""
    probabilities: tuple[tuple[tuple[float, ...], ...], ...]
    """(S, T, K)"""
    kl_to_final: tuple[tuple[float, ...], ...]
    """KL(layer || model's output), nats, (S, T)."""
    texts: dict[int, str]
    """Text of each token by id."""

    def pictures(self, tokens: Sequence[str]) -> list[Part]:
        """A map of the most probable tokens, and one of the distance to the output.

        Args:
            tokens: Texts of the prompt's tokens.
        """
        rows, columns = [str(layer) for layer in reversed(self.layers)], token_labels(tokens)
        shown = {token: visible(text) for token, text in self.texts.items()}
        details = [
            [
                "\n".join(f"{shown[token]!r} {value:.4f}" for token, value in zip(*cell, strict=True))
                for cell in zip(*row, strict=True)
            ]
            for row in zip(reversed(self.ids), reversed(self.probabilities), strict=True)
        ]
        return [
            heatmap(
                "What each layer would predict",
                [[cell[0] for cell in row] for row in reversed(self.probabilities)],
                texts=[[shown[cell[0]] for cell in row] for row in reversed(self.ids)],
                details=details,
                unit="probability",
                note="Most probable next token after each token, from each layer; the last layer, at the top, is the model's output.",
                rows=rows,
                columns=columns,
                upwards="layer",
                across="token",
            ),
            heatmap(
                "Distance to the output",
                list(reversed(self.kl_to_final)),
                unit="KL to the output, nats",
                rows=rows,
                columns=columns,
                upwards="layer",
                across="token",
            ),
        ]


class AnalysisResult(Result):
    """A logit lens at one position."""

    position: int
    """Position that was read, from 0."""
    layers: int
    """Blocks L of the model."""
    layer_predictions: tuple[LayerPrediction, ...]
    token_evolutions: tuple[TokenEvolution, ...]
    grid: LensGrid | None = None
    """Every position, if it was asked for."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Logit lens of {self.provenance.model}"

    def pictures(self) -> list[Part]:
        """The map of layers and tokens, the tracked tokens over the layers, and the figures of the position."""
        found = [] if self.grid is None else self.grid.pictures(self.tokens)
        found += self.followed()
        predictions = self.layer_predictions
        found.append(
            lines(
                f"Layers {self._place}",
                {
                    "probability of the first token": [each.top_probability for each in predictions],
                    "entropy as a share of the largest": [each.entropy for each in predictions],
                },
                steps=[each.layer_idx for each in predictions],
                unit="share",
            )
        )
        return found

    def followed(self) -> list[Part]:
        """Probability and rank of the tracked tokens over the layers."""
        followed = {visible(each.token): each for each in self.token_evolutions}
        if not followed:
            return []
        return [
            lines(
                f"Probability of tracked tokens {self._place}",
                {name: each.probabilities for name, each in followed.items()},
                unit="probability",
            ),
            lines(
                f"Rank of tracked tokens {self._place}",
                {name: [float(np.log10(rank)) for rank in each.ranks] for name, each in followed.items()},
                unit="log10 of the rank",
                note="0 is rank 1: the most probable token.",
            ),
        ]

    @property
    def _place(self) -> str:
        return f"after token {self.position}, {visible(self.tokens[self.position])!r}"

    @property
    def predicted_token(self) -> str:
        """The model's prediction."""
        return self.predicted.token

    @property
    def predicted(self) -> TokenProbability:
        """The model's prediction with id and probability."""
        return self.layer_predictions[-1].top_tokens[0]


class LayerComparison(Frozen):
    """Two layers at the same relative depth."""

    first_layer: int
    second_layer: int
    first: TokenProbability
    second: TokenProbability
    is_same: bool
    """Whether the texts of the tokens are equal."""


class ComparisonResult(Result):
    """Two models on one prompt; `provenance` and tokens are those of the first."""

    second: Provenance
    first_result: AnalysisResult
    second_result: AnalysisResult
    layers: tuple[LayerComparison, ...]
    agreement: float
    """Share of the compared layers with equal tokens, in [0, 1]."""
    output_js: float | None
    """Jensen-Shannon divergence of the outputs, nats; None if the tokenizers differ."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Logit lenses of {self.provenance.model} and {self.second.model}"

    def pictures(self) -> list[Part]:
        """The probable tokens of both models by layer, and the pictures of each."""
        pairs = self.layers
        labels = [str(each.first_layer) for each in pairs]
        both = heatmap(
            "Most probable token of both models",
            [[each.first.probability for each in pairs], [each.second.probability for each in pairs]],
            rows=[f"1: {self.provenance.model}", f"2: {self.second.model}"],
            columns=labels,
            texts=[[visible(each.first.token) for each in pairs], [visible(each.second.token) for each in pairs]],
            unit="probability",
            upwards="model",
            across="layer",
            note=f"{self.agreement:.0%} of the layers predict the same text; layers of the second model at the same relative depth.",
        )
        followed = {
            f"{visible(each.token)}, {name}": each.probabilities
            for name, result in (("1", self.first_result), ("2", self.second_result))
            for each in result.token_evolutions
        }
        if not followed or self.first_result.layers != self.second_result.layers:
            return [both]
        return [both, lines("Probability of tracked tokens", followed, unit="probability")]
