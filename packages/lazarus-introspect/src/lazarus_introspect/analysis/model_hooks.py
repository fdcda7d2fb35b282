"""`ModelHooks`: hidden states and attention of chosen layers, with a few lines of code."""

from collections.abc import Sequence
from typing import Any

from lazarus_introspect.analysis.settings import check_layers
from lazarus_introspect.cache import ActivationCache, run_with_cache
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import Hook
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.backend import mx


class ModelHooks:
    """Captures activations of a model; each `forward` replaces those of the one before."""

    def __init__(self, model: Any) -> None:
        """Captures hidden states of all layers, until `configure` chooses otherwise.

        Args:
            model: What `lazarus_models.load` returns, or its `model`.
        """
        self._model = decoder_of(model)
        self._sites = sites(model)
        self._names: list[str] = []
        self._functions: list[tuple[str, Hook]] = []
        self._cache: ActivationCache | None = None
        self.configure()

    def configure(
        self,
        *,
        layers: Sequence[int] | None = None,
        capture_hidden_states: bool = True,
        capture_attention: bool = False,
        names: Sequence[str] = (),
    ) -> "ModelHooks":
        """Chooses what is captured.

        Args:
            layers: Blocks; None for all.
            capture_hidden_states: The stream after each block, (B, T, D).
            capture_attention: The pattern of each block with attention, (B, H, T, T).
            names: Other sites.

        Raises:
            RequestError: A layer does not exist.
            SiteError: A site does not exist, or attention was asked of named layers without it.
        """
        chosen = check_layers(range(self._sites.layers) if layers is None else layers, self._sites.layers)
        self._names = [self._sites.find(name).name for name in names]
        if capture_hidden_states:
            self._names += [f"blocks.{layer}.resid_post" for layer in chosen]
        if capture_attention:
            wanted = [f"blocks.{layer}.attn.pattern" for layer in chosen]
            present = [name for name in wanted if name in self._sites.present]
            self._names += present if layers is None and present else [self._sites.find(name).name for name in wanted]
        return self

    def add(self, site: str, function: Hook) -> "ModelHooks":
        """Adds a function that reads or changes a site in each `forward`.

        Args:
            site: Name or alias of a site.
            function: Takes the activation, returns it changed or None.
        """
        self._functions.append((self._sites.find(site).name, function))
        return self

    def forward(self, ids: Any) -> mx.array:
        """The logits of a forward pass, (B, T, V); captured activations are in the properties.

        Args:
            ids: Token ids, integer, (B, T).
        """
        logits, self._cache = run_with_cache(self._model, ids, self._names, hooks=self._functions)
        return logits

    @property
    def cache(self) -> ActivationCache:
        """All captured activations by site.

        Raises:
            RequestError: There was no `forward` yet.
        """
        if self._cache is None:
            raise RequestError("nothing was captured yet; call `forward` first", "LI-E145")
        return self._cache

    @property
    def hidden_states(self) -> dict[int, mx.array]:
        """The stream after each captured block, (B, T, D), by its number."""
        return self._by_layer("resid_post")

    @property
    def attention_weights(self) -> dict[int, mx.array]:
        """The pattern of each captured block, (B, H, T, T), by its number."""
        return self._by_layer("attn.pattern")

    def _by_layer(self, kind: str) -> dict[int, mx.array]:
        names = {layer: f"blocks.{layer}.{kind}" for layer in range(self._sites.layers)}
        return {layer: self.cache[name] for layer, name in names.items() if name in self.cache}
