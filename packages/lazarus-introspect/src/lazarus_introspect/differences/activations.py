"""Differences of the activations of two models on the same tokens, site by site.

n = tokens of all prompts, D = width

| figure | definition | baseline |
|---|---|---|
| relative | norm of the difference over that of the first model's activations | |
| cosine | mean over tokens of the cosine of both activations | the same with shuffled tokens |
| CKA | `lazarus_introspect.differences.linear_cka` | shuffled tokens, with p |

The first positions of a prompt can be left out: many models give the first token a norm that hides all others. Relative
difference and cosine need equal widths, CKA does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.differences.cka import linear_cka
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import Numbers, log_softmax, numbers
from lazarus_introspect.site_table import canonical_name, decoder_of, sites

_OUTPUTS = ("attn_out", "mixer_out", "mlp_out", "resid_post")
DEFAULT_SITES = ("embed", *(f"blocks.*.{name}" for name in _OUTPUTS), "resid_final")
"""Those that the models have: streams, and outputs of the parts of each block."""
_TOKEN_AXES = ("BTD", "BTHW", "BTKW", "BTI", "BTE")
"""Axes of sites that are a vector for each token."""


class SiteDifference(Frozen):
    """The difference at one site."""

    site: str
    relative: float | None
    """None for other widths, or if the first is zero."""
    cosine: float | None
    """None for other widths."""
    cosine_shuffled: float | None
    """The cosine of different tokens."""
    cka: float | None
    """None if a representation is constant."""
    cka_shuffled: float | None
    p: float | None
    """Share of shuffles with at least this CKA."""


@dataclass(frozen=True)
class ActivationDifference:
    """The differences of two models on prompts."""

    tokens: int
    """Tokens n that were compared."""
    sites: tuple[SiteDifference, ...]
    missing: tuple[str, ...]
    """Sites that only one of the models has."""
    kl: float | None
    """Mean KL(first || second) of the next token, nats; None for other vocabularies."""
    agreement: float
    """Share of tokens after which both predict the same token."""


def activation_diff(
    first: Any,
    second: Any,
    prompts: Sequence[Sequence[int]],
    *,
    names: Sequence[str] | None = None,
    skip: int = 1,
    max_tokens: int = 1024,
    seed: int = 0,
    permutations: int = 99,
) -> ActivationDifference:
    """Compares the activations of two models on the same token ids.

    Args:
        first: What `lazarus_models.load` returns, or its `model`.
        second: The other model, with the same tokenizer.
        prompts: Token ids of each prompt.
        names: Sites or patterns; None for `DEFAULT_SITES`.
        skip: Positions that are left out at the start of each prompt.
        max_tokens: Most tokens; of more a sample is compared. Memory of CKA is 16 * max_tokens^2 bytes.
        seed: Random seed of sample and shuffles, at least 0.
        permutations: Shuffles of CKA.

    Raises:
        RequestError: Fewer than three tokens are left, or a site is no vector for each token.
        SiteError: A site exists in neither model, or the models have none in common.
    """
    chosen, missing = _common_sites(first, second, DEFAULT_SITES if names is None else names)
    lengths = [max(len(ids) - skip, 0) for ids in prompts]
    if sum(lengths) < 3:
        raise RequestError(
            f"`prompts` have {sum(lengths)} tokens after `skip` {skip} at the start of each; give at least 3", "LI-E172"
        )
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(sum(lengths))[:max_tokens])
    one, two = (_captured(model, prompts, chosen, skip) for model in (first, second))
    shuffled = rng.permutation(len(kept))
    found = tuple(
        _difference(name, one[name][kept], two[name][kept], shuffled, seed=seed, permutations=permutations)
        for name in chosen
    )
    logits = [each["logits"][kept] for each in (one, two)]
    kl = None
    if logits[0].shape == logits[1].shape:
        before, after = map(log_softmax, logits)
        kl = float(np.maximum((np.exp(before) * (before - after)).sum(axis=1), 0).mean())
    agreement = float((logits[0].argmax(axis=1) == logits[1].argmax(axis=1)).mean())
    return ActivationDifference(len(kept), found, tuple(missing), kl, agreement)


def _common_sites(first: Any, second: Any, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Sites of both models in the order of a pass, and those of one model only."""
    both = [sites(first), sites(second)]
    patterns = [canonical_name(name) for name in names]
    for name, pattern in zip(names, patterns, strict=True):
        if names is not DEFAULT_SITES and not any(fnmatchcase(each, pattern) for own in both for each in own.present):
            both[0].find(name)  # says why
    chosen = [{name for name in own.present if any(fnmatchcase(name, each) for each in patterns)} for own in both]
    common = [name for name in both[0].present if name in chosen[0] & chosen[1]]
    for name in common:
        if both[0].present[name].axes not in _TOKEN_AXES:
            axes = " ".join(both[0].present[name].axes)
            raise RequestError(f"`{name}` has the axes {axes}; give `names` of a vector for each token", "LI-E173")
    if not common:
        raise RequestError("the models have none of the sites in common; give other `names`", "LI-E173")
    return common, sorted(chosen[0] ^ chosen[1])


def _captured(model: Any, prompts: Sequence[Sequence[int]], names: Sequence[str], skip: int) -> dict[str, Numbers]:
    """Activations of all prompts, (n, D) by site, and the logits."""
    parts: dict[str, list[Numbers]] = {name: [] for name in (*names, "logits")}
    for ids in prompts:
        logits, cache = run_with_cache(decoder_of(model), [list(ids)], list(names))
        for name in names:
            own = numbers(cache[name][0])
            parts[name].append(own.reshape(len(own), -1)[skip:])
        parts["logits"].append(numbers(logits[0])[skip:])
    return {name: np.concatenate(each) for name, each in parts.items()}


def _difference(
    name: str, one: Numbers, two: Numbers, shuffled: np.ndarray, *, seed: int, permutations: int
) -> SiteDifference:
    relative = cosine = other = None
    if one.shape == two.shape:
        norm = float(np.linalg.norm(one))
        relative = None if norm == 0 else float(np.linalg.norm(two - one)) / norm
        cosine, other = _mean_cosine(one, two), _mean_cosine(one, two[shuffled])
    alike = linear_cka(one, two, seed=seed, permutations=permutations)
    return SiteDifference(
        site=name,
        relative=relative,
        cosine=cosine,
        cosine_shuffled=other,
        cka=None if alike is None else alike.cka,
        cka_shuffled=None if alike is None else alike.shuffled,
        p=None if alike is None else alike.p,
    )


def _mean_cosine(one: Numbers, two: Numbers) -> float:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    products = (one * two).sum(axis=1)
    return float(np.clip(np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0).mean(), -1, 1))
