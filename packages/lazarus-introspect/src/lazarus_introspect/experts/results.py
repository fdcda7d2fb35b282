"""Results of the analyses of experts: frozen numbers with their provenance and request, as JSON."""

from typing import Any

from lazarus_introspect.analysis.provenance import Provenance
from lazarus_introspect.analysis.results import RESULT_VERSION, Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.experts.alike import LayerSimilarity
from lazarus_introspect.experts.balance import ExpertUtilization, Repetition, RouterEntropy
from lazarus_introspect.experts.contribution import ExpertVocabulary
from lazarus_introspect.experts.identify import ExpertIdentification
from lazarus_introspect.experts.joint_use import Coactivation, Transition


class TextIds(Frozen):
    """A text of the analysis."""

    label: str
    text: str
    ids: tuple[int, ...]


class TextsResult(Frozen):
    """Base of results of several texts."""

    analysis: str
    """Name of the analysis: the command that computes it."""
    result_version: int = RESULT_VERSION
    provenance: Provenance
    request: dict[str, Any]
    """Everything that the analysis was asked, so that it can be run again."""
    texts: tuple[TextIds, ...]

    def to_json(self) -> str:
        """The result as a JSON object; numbers that are not finite are null."""
        return self.model_dump_json()


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


class LayerUtilization(Frozen):
    """Balance, certainty and repetition of one block."""

    utilization: ExpertUtilization
    entropy: RouterEntropy
    repetition: Repetition | None
    """None if no text has two tokens."""


class UtilizationResult(TextsResult):
    """How evenly texts use the experts of each block."""

    layers: tuple[LayerUtilization, ...]


class CoactivationResult(TextsResult):
    """Experts that are used by the same tokens."""

    layers: tuple[Coactivation, ...]


class SpecialistsResult(TextsResult):
    """Specialists of labels and preferred tokens."""

    layers: tuple[ExpertIdentification, ...]


class PipelineResult(TextsResult):
    """How experts of one block follow those of the block before."""

    transitions: tuple[Transition, ...]


class VocabularyResult(TextsResult):
    """Tokens that each expert makes more probable."""

    layers: tuple[ExpertVocabulary, ...]


class SimilarityResult(TextsResult):
    """Experts that compute nearly the same."""

    layers: tuple[LayerSimilarity, ...]


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
