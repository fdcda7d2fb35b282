"""Hooks: functions that read or change activations while a model computes.

Layers of `lazarus-models` offer their activations to taps (`lazarus_models.components.taps`), in a forward pass, in cached
generation, and in quantized and adapted models alike. The model itself is never changed, so an exception leaves nothing to
restore, and logits with hooks that change nothing have equal bits.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lazarus_introspect.errors import HookError, RequestError
from lazarus_introspect.site_table import Site, decoder_of, sites
from lazarus_models.backend import mx, nn
from lazarus_models.components import tapped
from lazarus_models.trees import integers, part
from lazarus_models.vocabulary import check_ids

Function = Callable[[mx.array], mx.array | None]
"""Takes an activation and returns it changed, or None for no change."""


@dataclass(frozen=True)
class Positioned:
    """A hook that needs to know where its tokens are, as in cached generation."""

    function: Callable[[mx.array, int], mx.array | None]
    """Takes the activation and the position of its first token."""


Hook = Function | Positioned
Hooks = Iterable[tuple[str, Hook]]
"""Pairs of a site and a function."""


def run_with_hooks(model: Any, ids: Any, hooks: Hooks = ()) -> mx.array:
    """The logits of a forward pass with hooks, (B, T, V).

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids, integer, (B, T).
        hooks: Pairs of a site and a function. The function takes the activation, whose first axis is the batch, and returns
            it changed, or None for no change. Functions of one site are called in their order.

    Raises:
        SiteError: A site is unknown or missing in this model.
        HookError: A function returned an array of another shape.
        RequestError: `ids` is not a matrix of the model's ids.
    """
    decoder = decoder_of(model)
    tokens = token_ids(decoder, ids)
    with hooked(decoder, hooks):
        return decoder(tokens)


@contextmanager
def hooked(model: Any, hooks: Hooks) -> Generator[None]:
    """Context manager: every pass of this model in this thread has the hooks, those of generation too.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        hooks: As in `run_with_hooks`. Hooks of outer blocks are called first.

    Raises:
        SiteError: A site is unknown or missing in this model.
        HookError: A function returned an array of another shape, or was never called although the model ran.
    """
    taps = SiteTaps(model)
    for name, function in hooks:
        taps.add(name, function)
    with taps.active():
        yield


class SiteTaps:
    """The tap of one model: hooks by site, in the order in which they were added."""

    def __init__(self, model: Any) -> None:
        self.decoder = decoder_of(model)
        self.sites = sites(self.decoder)
        self._hooks: dict[tuple[int, str], list[tuple[Site, Hook]]] = {}
        self._computed: set[tuple[int, str]] = set()
        self._called: set[tuple[int, str]] = set()
        self._ran = False
        self._position: int | None = 0
        self._on_start: Callable[[], None] | None = None

    def add(self, name: str, function: Hook) -> Site:
        """Adds a hook.

        Args:
            name: Name or alias of a site.
            function: Takes the activation, returns it changed or None.
        """
        if not (isinstance(function, Positioned) or callable(function)):
            raise HookError(f"`hooks`: the function of `{name}` is a {type(function).__name__}", "LI-E110")
        site = self.sites.find(name)
        key = (id(part(self.decoder, site.owner)), site.tap)
        self._hooks.setdefault(key, []).append((site, function))
        if site.is_computed_on_demand:
            self._computed.add(key)
        return site

    @contextmanager
    def active(self) -> Generator[None]:
        """Context manager: the hooks have an effect in it."""
        with tapped(self):
            yield
        if self._ran and (missed := self._hooks.keys() - self._called):
            names = sorted({site.name for key in missed for site, _ in self._hooks[key]})
            raise HookError(
                f"the model ran, but never reached `{names[0]}`: its layers were replaced or wrapped; load it again",
                "LI-E112",
            )

    def on_start(self, function: Callable[[], None]) -> None:
        """Calls a function at the start of each pass."""
        self._on_start = function

    def starts(self, body: nn.Module, before: int | mx.array | None) -> None:
        """Notes the position of the first token of a pass.

        Args:
            body: The body whose pass starts.
            before: Tokens in its caches.
        """
        if body is self.decoder.body:
            self._ran = True
            self._position = before if isinstance(before, int) else None
            if self._on_start is not None:
                self._on_start()

    def wants(self, layer: nn.Module, name: str) -> bool:
        """Whether a hook needs scores or pattern.

        Args:
            layer: The layer that offers it.
            name: Its name of the activation.
        """
        return (id(layer), name) in self._computed

    def __call__(self, layer: nn.Module, name: str, x: mx.array) -> mx.array:
        """Calls the hooks of a site.

        Args:
            layer: The layer that offers the activation.
            name: Its name of the activation.
            x: The activation.
        """
        key = (id(layer), name)
        if key in self._hooks:
            self._called.add(key)
        for site, function in self._hooks.get(key, ()):
            changed = function.function(x, self._place(site)) if isinstance(function, Positioned) else function(x)
            if changed is not None:
                x = _fitting(changed, x, site)
        return x

    def _place(self, site: Site) -> int:
        if self._position is None:
            raise HookError(
                f"`{site.name}`: positions are unknown in a batch of generations and in models of state spaces only; "
                "generate without a cache",
                "LI-E114",
            )
        return self._position


def _fitting(changed: Any, x: mx.array, site: Site) -> mx.array:
    if not isinstance(changed, mx.array):
        raise HookError(
            f"the hook of `{site.name}` returned a {type(changed).__name__}; return an `mx.array` or None", "LI-E110"
        )
    if changed.shape != x.shape:
        raise HookError(
            f"the hook of `{site.name}` returned the shape {changed.shape}, but the site has {x.shape}", "LI-E111"
        )
    if mx.issubdtype(changed.dtype, mx.floating) != mx.issubdtype(x.dtype, mx.floating):
        raise HookError(f"the hook of `{site.name}` returned {changed.dtype}, but the site has {x.dtype}", "LI-E111")
    return changed if changed.dtype == x.dtype else changed.astype(x.dtype)


def token_ids(model: Any, ids: Any) -> mx.array:
    """Token ids as an array (B, T), checked against the model.

    Args:
        model: The model.
        ids: An integer array or nested lists, (B, T).

    Raises:
        RequestError: It is no such matrix, or it is empty.
        GenerationError: An id is outside the vocabulary.
    """
    if isinstance(ids, str):
        raise RequestError("`ids` is a text: give its token ids, such as [lm.tokenizer.encode(text)]", "LI-E120")
    try:
        found = ids if isinstance(ids, mx.array) else mx.array(ids)
    except (TypeError, ValueError) as error:
        raise RequestError("`ids` is not a matrix of token ids: rows need equal lengths", "LI-E120") from error
    if found.ndim != 2 or not mx.issubdtype(found.dtype, mx.integer) or found.size == 0:
        raise RequestError(
            f"`ids` has the shape {found.shape} and dtype {found.dtype}; give integers (B, T), such as [[1, 2, 3]]",
            "LI-E120",
        )
    check_ids(integers(found.flatten()), decoder_of(model).config.vocab_size, "`ids`")
    return found


def rows_of(sequences: Sequence[Sequence[int]]) -> mx.array:
    """Token ids of several prompts as one array (B, T).

    Raises:
        RequestError: The prompts have different numbers of tokens.
    """
    lengths = sorted({len(each) for each in sequences})
    if len(lengths) != 1:
        raise RequestError(f"the prompts have {lengths} tokens; give prompts with equal numbers of tokens", "LI-E121")
    return mx.array([list(each) for each in sequences])
