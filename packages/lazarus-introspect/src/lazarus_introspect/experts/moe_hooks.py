"""`MoEHooks`: routing of chosen blocks, with a few lines of code."""

from collections.abc import Mapping
from typing import Any

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.cache import ActivationCache, run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.experts.balance import (
    ExpertUtilization,
    Repetition,
    RouterEntropy,
    expert_utilization,
    repetition,
    router_entropy,
)
from lazarus_introspect.experts.joint_use import Coactivation, coactivation
from lazarus_introspect.experts.routing import ROUTING_SITES, Routing, moe_layers, routing_of
from lazarus_introspect.site_table import decoder_of
from lazarus_models.backend import mx


class MoECaptureConfig(Frozen):
    """What `MoEHooks` captures."""

    capture_router_logits: bool = True
    """Scores of all experts, (B, T, E)."""
    capture_selected_experts: bool = True
    """Chosen experts, (B, T, k)."""
    capture_router_weights: bool = True
    """Shares of the chosen experts, (B, T, k)."""
    capture_expert_outputs: bool = False
    """Output of each chosen expert, (B, T, k, D): k times the residual stream."""
    layers: tuple[int, ...] | None = None
    """Blocks; None for all with experts."""


_KINDS = {
    "capture_router_logits": "router_logits",
    "capture_selected_experts": "experts",
    "capture_router_weights": "weights",
    "capture_expert_outputs": "expert_out",
}


class MoEHooks:
    """Captures the routing of a model; each `forward` replaces that of the one before."""

    def __init__(self, model: Any) -> None:
        """Captures scores, choices and shares of all blocks with experts, until `configure` chooses otherwise.

        Args:
            model: What `lazarus_models.load` returns, or its `model`.

        Raises:
            SiteError: The model has no experts.
        """
        self._model = decoder_of(model)
        self._layers = moe_layers(model)
        self._config = MoECaptureConfig()
        self._captured: tuple[ActivationCache, mx.array, Any] | None = None

    def configure(self, config: MoECaptureConfig | None = None, **settings: Any) -> "MoEHooks":
        """Chooses what is captured.

        Args:
            config: The settings; None for the defaults.
            settings: Settings by name, which replace those of `config`.

        Raises:
            SiteError: A block has no experts.
            RequestError: Nothing is captured.
        """
        config = MoECaptureConfig.model_validate({**(config or MoECaptureConfig()).model_dump(), **settings})
        if not any(getattr(config, name) for name in _KINDS):
            raise RequestError("nothing would be captured; set one of the `capture_...` settings", "LI-E162")
        self._layers, self._config, self._captured = moe_layers(self._model, config.layers), config, None
        return self

    @property
    def layers(self) -> list[int]:
        """The blocks whose routing is captured."""
        return list(self._layers)

    def forward(self, ids: Any, mask: Any = None) -> mx.array:
        """The logits of a forward pass, (B, T, V); the routing is in the other methods.

        Args:
            ids: Token ids, integer, (B, T).
            mask: 1 for tokens, 0 for padding after them, (B, T); padding is left out of all figures. None for no padding.
        """
        kinds = [kind for name, kind in _KINDS.items() if getattr(self._config, name)]
        names = [f"blocks.{layer}.moe.{kind}" for layer in self._layers for kind in kinds]
        logits, cache = run_with_cache(self._model, ids, names)
        self._captured = (cache, mx.array(ids), mask)
        return logits

    @property
    def cache(self) -> ActivationCache:
        """All captured activations by site.

        Raises:
            RequestError: There was no `forward` yet.
        """
        return self._last()[0]

    def _last(self) -> tuple[ActivationCache, mx.array, Any]:
        if self._captured is None:
            raise RequestError("nothing was captured yet; call `forward` first", "LI-E145")
        return self._captured

    @property
    def router_logits(self) -> Mapping[int, mx.array]:
        """Scores of all experts, (B, T, E), by block."""
        return self._by_layer("router_logits")

    @property
    def selected_experts(self) -> Mapping[int, mx.array]:
        """Chosen experts in no order, (B, T, k), by block."""
        return self._by_layer("experts")

    @property
    def router_weights(self) -> Mapping[int, mx.array]:
        """Shares of the chosen experts, (B, T, k), by block."""
        return self._by_layer("weights")

    def _by_layer(self, kind: str) -> dict[int, mx.array]:
        return {layer: self.cache[f"blocks.{layer}.moe.{kind}"] for layer in self._layers}

    def get_routing(self, layer_idx: int) -> Routing:
        """Scores, choices and shares of the tokens of one block, without padding.

        Args:
            layer_idx: A captured block.

        Raises:
            SiteError: Scores, choices or shares of the block were not captured.
        """
        cache, ids, mask = self._last()
        for kind in ROUTING_SITES:
            _ = cache[f"blocks.{layer_idx}.moe.{kind}"]  # says what is missing
        return routing_of(self._model, cache, layer_idx, ids, mask)

    def get_expert_utilization(self, layer_idx: int) -> ExpertUtilization:
        """How evenly the tokens use the experts of a block."""
        return expert_utilization(self.get_routing(layer_idx))

    def get_router_entropy(self, layer_idx: int) -> RouterEntropy:
        """How certain the router of a block is."""
        return router_entropy(self.get_routing(layer_idx))

    def get_coactivation(self, layer_idx: int) -> Coactivation:
        """Which experts of a block the same tokens use."""
        return coactivation(self.get_routing(layer_idx))

    def get_repetition(self, layer_idx: int, *, seed: int = 0, permutations: int = 999) -> Repetition | None:
        """How often neighbouring tokens use the same experts of a block.

        Args:
            layer_idx: A captured block.
            seed: Random seed of the shuffles.
            permutations: Shuffles of the null.
        """
        return repetition(self.get_routing(layer_idx), seed=seed, permutations=permutations)
