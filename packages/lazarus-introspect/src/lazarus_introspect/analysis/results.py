"""Results: frozen numbers with their provenance and request, as JSON.

Layer 0 is the stream that enters the first block, layer L the model's output.
"""

from typing import Any

from lazarus_introspect.analysis.provenance import Provenance
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Token

RESULT_VERSION = 1
"""Raised when a key of a result changes its meaning."""


class Result(Frozen):
    """Base of all results."""

    analysis: str
    """Name of the analysis: the command that computes it."""
    result_version: int = RESULT_VERSION
    provenance: Provenance
    request: dict[str, Any]
    """Everything that the analysis was asked, so that it can be run again."""
    prompt: str
    ids: tuple[int, ...]
    """Token ids of the prompt."""
    tokens: tuple[str, ...]
    """Text of each token of the prompt."""

    def to_json(self) -> str:
        """The result as a JSON object; numbers that are not finite are null."""
        return self.model_dump_json()


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


class AnalysisResult(Result):
    """A logit lens at one position."""

    position: int
    """Position that was read, from 0."""
    layers: int
    """Blocks L of the model."""
    layer_predictions: tuple[LayerPrediction, ...]
    token_evolutions: tuple[TokenEvolution, ...]

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


class HeadShare(Frozen):
    """The share of one head."""

    layer: int
    head: int
    share: float


class AttributionResult(Result):
    """Direct attribution of a logit difference; the shares sum to it."""

    position: int
    positive: Token
    negative: Token
    difference: float
    """logit[positive] - logit[negative], as the model computed it."""
    total: float
    """The sum of all shares."""
    embed: float
    pos_embed: float
    norm_bias: float
    """Share of the bias of the last norm."""
    heads: tuple[HeadShare, ...]
    mixer_rest: tuple[float, ...]
    """Share of each block's attention that no head has; without attention, of the whole mixer."""
    mlp: tuple[float, ...]
    """Share of each block's feed-forward part."""


class HeadPattern(Frozen):
    """The attention of one head."""

    layer: int
    head: int
    entropy: float
    """Mean entropy of the rows as a share of the largest possible, in [0, 1]."""
    first: float
    """Mean attention to the first token."""
    previous: float
    """Mean attention to the token before."""
    own: float
    """Mean attention to the token itself."""
    sink: float
    """Mean share of a learned sink; 0 without."""
    last_row: tuple[float, ...]
    """Attention of the last token to each token."""
    pattern: tuple[tuple[float, ...], ...] | None
    """All rows, if they were asked for."""


class DetectedHead(Frozen):
    """A head that behaves as its kind on random repeated tokens."""

    layer: int
    head: int
    kind: str
    score: float
    control: float
    p: float
    q: float


class AttentionResult(Result):
    """Attention patterns, and detected heads if they were asked for."""

    heads: tuple[HeadPattern, ...]
    absent: dict[int, str]
    """Blocks without attention, each with its mixer."""
    detected: tuple[DetectedHead, ...] | None
    tested: int
    """Heads that were tested for each kind."""


class Resampled(Frozen):
    """Where the output of one component came from."""

    component: str
    prompts: tuple[int, ...]
    """Index of the reference prompt, for each position of the text, generated ones included."""
    positions: tuple[int, ...]
    """Position in the reference prompts, as they were cut to equal lengths."""


class Ablated(Frozen):
    """One joint ablation."""

    layers: tuple[int, ...]
    text: str
    meets_criterion: bool | None
    """None without a criterion."""
    kl: float
    """KL(clean || ablated) of the first new token, nats."""
    top_token: str
    top_changed: bool
    logprob_change: float
    """Change of the log-probability of the clean run's first new token, nats."""
    resampled: tuple[Resampled, ...] | None = None
    """resample: the sources of each component; None for the other methods."""


class AblationResult(Result):
    """The original text, and the text of each ablation."""

    criterion: str | None
    original: str
    original_meets_criterion: bool | None
    ablations: tuple[Ablated, ...]


class PatchResult(Result):
    """A sweep of activation patches; `prompt` and `ids` are those of the clean prompt."""

    corrupt_prompt: str
    corrupt_ids: tuple[int, ...]
    corrupt_tokens: tuple[str, ...]
    kind: str
    direction: str
    by: str
    """`position` or `head`."""
    positive: Token
    negative: Token
    sites: tuple[str, ...]
    columns: tuple[int, ...]
    clean: float
    """logit[positive] - logit[negative] of the clean run."""
    corrupt: float
    difference: tuple[tuple[float, ...], ...]
    """The same of each patched run: sites, columns."""
    normalised: tuple[tuple[float, ...], ...] | None
    """0 as the corrupt run, 1 as the clean one; None if they do not differ."""


class SteeringResult(Result):
    """The text without and with steering."""

    site: str
    alpha: float
    mode: str
    vector_norm: float
    stream_norm: float
    """Mean norm of the stream at the site, on the prompt."""
    original: str
    steered: str
    kl: float
    """KL(original || steered) of the first new token, nats."""
