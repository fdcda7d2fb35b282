"""Captured activations: those of a forward pass, or of each pass of a generation.

Memory is that of the captured arrays; ask for the sites that you need. With all sites, scores and patterns take B * H * T * T
numbers a layer.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from lazarus_introspect.errors import HookError, SiteError
from lazarus_introspect.hooks import Hooks, SiteTaps, token_ids
from lazarus_introspect.site_table import Site, Sites, canonical_name, decoder_of
from lazarus_models.backend import mx
from lazarus_models.trees import evaluate

Names = str | Iterable[str] | Callable[[str], bool] | None
"""Sites: one name, several names, patterns such as `blocks.*.attn_out`, a function of names, or None for all."""


class ActivationCache(Mapping[str, mx.array]):
    """Activations by name of their site; aliases are accepted, also `cache["pattern", 0]`."""

    def __init__(self, sites: Sites, arrays: dict[str, mx.array]) -> None:
        self._sites, self._arrays = sites, arrays

    def __getitem__(self, name: str | tuple[str, int]) -> mx.array:
        site = self._sites.find(self._single(name))
        if site.name not in self._arrays:
            raise SiteError(f"`{site.name}` was not captured; add it to `names`", "LI-E103")
        return self._arrays[site.name]

    def _single(self, name: str | tuple[str, int]) -> str:
        if isinstance(name, str):
            return name
        kind, layer = name
        own = [f"blocks.{layer}.{room}{kind}" for room in ("", "attn.", "mlp.", "moe.")]
        return next((each for each in own if canonical_name(each) in self._sites.present), own[0])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical_name(name) in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"ActivationCache({len(self)} sites, {self.nbytes / 1e6:.1f} MB)"

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def absent(self) -> Mapping[str, str]:
        """Sites that the model does not have, each with the reason."""
        return self._sites.absent

    def stack(self, kind: str) -> mx.array:
        """One site of every block, (L, B, ...).

        Args:
            kind: Name within the block, such as `resid_pre` or `attn.z`.

        Raises:
            SiteError: A block does not have it, or it was not captured.
        """
        return mx.stack([self[f"blocks.{layer}.{kind}"] for layer in range(self._sites.layers)])


def run_with_cache(
    model: Any, ids: Any, names: Names = None, *, hooks: Hooks = (), kv_cache: Any = None
) -> tuple[mx.array, ActivationCache]:
    """A forward pass with captured activations.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        ids: Token ids, integer, (B, T).
        names: Sites to capture; None for all that the model has.
        hooks: Hooks of the same pass, as in `run_with_hooks`; what they changed is captured.
        kv_cache: Cache of earlier tokens, such as `model.make_cache()`; it is updated. None for no cache.

    Returns:
        The logits (B, T, V), and the activations.

    Raises:
        SiteError: A site is unknown or missing in this model.
        RequestError: `ids` is not a matrix of the model's ids.
    """
    decoder = decoder_of(model)
    tokens = token_ids(decoder, ids)
    taps, captured = _capturing_taps(decoder, names, hooks)
    with taps.active():
        logits = decoder(tokens) if kv_cache is None else decoder(tokens, kv_cache)
    (arrays,) = captured
    evaluate([logits, arrays])
    return logits, ActivationCache(taps.sites, arrays)


@contextmanager
def capturing(model: Any, names: Names, *, hooks: Hooks = ()) -> Generator[list[ActivationCache]]:
    """Context manager: captures every pass of this model in this thread, such as the steps of a generation.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        names: Sites to capture; None for all. Each pass adds its arrays, so memory grows with the passes.
        hooks: Hooks of the same passes.

    Yields:
        A list with one cache a pass. It is filled when the block ends.
    """
    taps, captured = _capturing_taps(model, names, hooks)
    caches: list[ActivationCache] = []
    with taps.active():
        yield caches
    evaluate(captured)
    caches.extend(ActivationCache(taps.sites, arrays) for arrays in captured)


def _capturing_taps(model: Any, names: Names, hooks: Hooks) -> tuple[SiteTaps, list[dict[str, mx.array]]]:
    """The taps, and the list in which they collect one dictionary of arrays a pass."""
    taps = SiteTaps(model)
    captured: list[dict[str, mx.array]] = []

    def record(site: Site) -> Callable[[mx.array], None]:
        def keep(x: mx.array) -> None:
            if site.name in captured[-1]:
                raise HookError(
                    f"`{site.name}` is computed several times a pass, in parts of a batch; use one prompt at a time",
                    "LI-E113",
                )
            captured[-1][site.name] = x

        return keep

    chosen = choose_sites(taps.sites, names)
    for name, function in hooks:
        taps.add(name, function)
    taps.on_start(lambda: captured.append({}))
    for site in chosen:
        taps.add(site.name, record(site))
    return taps, captured


def choose_sites(sites: Sites, names: Names) -> list[Site]:
    """The sites that are asked for, in the order of a pass.

    Args:
        sites: The sites of a model.
        names: See `Names`.

    Raises:
        SiteError: A name or pattern matches no site.
    """
    if names is None:
        return list(sites.present.values())
    if callable(names):
        return [site for site in sites.present.values() if names(site.name)]
    chosen: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        if "*" in name:
            matched = {each for each in sites.present if fnmatchcase(each, name)}
            if not matched:
                raise SiteError(f"`{name}` matches no site of this model", "LI-E100")
            chosen |= matched
        else:
            chosen.add(sites.find(name).name)
    return [site for site in sites.present.values() if site.name in chosen]
