"""Direct path patching: the effect of one component on another one along the direct path between them.

The sender's change, clean minus corrupt, is added to the stream that the receiver reads in the corrupt run; all other paths
into the receiver stay as they were. What follows the receiver is computed anew (Wang et al., arXiv 2211.00593).

The norm of the receiver runs on the changed stream, or, with `is_frozen`, with the scale of the corrupt run. Frozen, the effects
of all senders on a stream add up to the effect of the whole stream.
"""

from dataclasses import dataclass
from typing import Any, Literal

from lazarus_introspect.cache import ActivationCache, run_with_cache
from lazarus_introspect.causal.ablation import Component
from lazarus_introspect.causal.patching import check_pair
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import Hook, hooked, token_ids
from lazarus_introspect.metrics import logit_difference
from lazarus_introspect.reading.attribution import FrozenNorm
from lazarus_introspect.reading.lens import language_head, last_norm
from lazarus_introspect.site_table import decoder_of, sites
from lazarus_models.backend import mx
from lazarus_models.trees import part
from lazarus_models.vocabulary import check_ids

Input = Literal["q", "k", "v", "mlp", "logits"]


@dataclass(frozen=True)
class Receiver:
    """What reads the changed stream."""

    input: Input
    """Queries, keys or values of a head, the input of an MLP, or the logits."""
    layer: int | None = None
    """Block, from 0; None for the logits."""
    head: int | None = None
    """Head, from 0; for keys and values the key/value head. None for all heads."""


@dataclass(frozen=True)
class PathEffect:
    """The logit difference with one path patched."""

    difference: float
    """logit[positive] - logit[negative] of the corrupt run with the patched path."""
    clean: float
    corrupt: float

    @property
    def effect(self) -> float:
        """The change against the corrupt run."""
        return self.difference - self.corrupt


def path_patch(
    model: Any,
    clean: Any,
    corrupt: Any,
    positive: int,
    negative: int,
    *,
    senders: tuple[Component | Literal["embed"], ...],
    receiver: Receiver,
    is_frozen: bool = False,
    position: int = -1,
) -> PathEffect:
    """Patches the direct path from components to a receiver.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        clean: Token ids, (1, T).
        corrupt: Token ids, (1, T).
        positive: Token that the clean prompt predicts.
        negative: Token that the corrupt prompt predicts.
        senders: Components of kind `attention`, `mlp` or `head`, or `embed`; their changes are added.
        receiver: What reads the changed stream; it must come after the senders.
        is_frozen: Keep the scale of the receiver's norm at that of the corrupt run.
        position: Position whose logits are read.

    Raises:
        RequestError: A sender is not before the receiver, or a setting is invalid.
        SiteError: The model does not have a component.
    """
    decoder = decoder_of(model)
    check_ids([positive, negative], decoder.config.vocab_size, "the pair of tokens")
    pair = [token_ids(decoder, ids) for ids in (clean, corrupt)]
    place = check_pair(pair[0], pair[1], position)
    if not senders:
        raise RequestError("`senders` is empty", "LI-E134")
    for sender in senders:
        _check_order(sender, receiver)
    names = _needed(senders, receiver)
    for name in names:
        sites(decoder).find(name)
    runs = [run_with_cache(decoder, ids, names) for ids in pair]
    states = [cache for _, cache in runs]
    ends = [float(logit_difference(logits[:, place], positive, negative)) for logits, _ in runs]
    changes = [_change(decoder, pair[1], states, sender) for sender in senders]
    change = sum(changes[1:], start=changes[0])
    if receiver.input == "logits":
        normed = _renormed(last_norm(decoder), states[1]["resid_final"], change, is_frozen=is_frozen)
        logits = language_head(decoder)(normed)
    else:
        with hooked(decoder, [_received(decoder, states[1], change, receiver, is_frozen=is_frozen)]):
            logits = decoder(pair[1])
    found = float(logit_difference(logits[:, place], positive, negative))
    return PathEffect(found, ends[0], ends[1])


def _check_order(sender: Component | Literal["embed"], receiver: Receiver) -> None:
    if (receiver.layer is None) != (receiver.input == "logits"):
        raise RequestError("a receiver of logits has no `layer`, every other one has", "LI-E134")
    if sender == "embed" or receiver.layer is None:
        return
    if sender.kind not in ("attention", "mlp", "head"):
        raise RequestError(f"{sender.name} cannot send; senders are attention, mlp, head or embed", "LI-E134")
    same_block = sender.layer == receiver.layer and receiver.input == "mlp" and sender.kind != "mlp"
    if not (sender.layer < receiver.layer or same_block):
        raise RequestError(f"{sender.name} is not before its receiver in block {receiver.layer}", "LI-E134")


def _needed(senders: tuple[Component | Literal["embed"], ...], receiver: Receiver) -> list[str]:
    names: list[str] = []
    for sender in senders:
        if sender == "embed":
            names.append("embed")
        else:
            prefix = f"blocks.{sender.layer}."
            names += {"attention": [prefix + "attn_out"], "mlp": [prefix + "mlp_out"]}.get(
                sender.kind, [prefix + "attn.z", prefix + "attn_out"]
            )
    stream = {"logits": "resid_final", "mlp": f"blocks.{receiver.layer}.resid_mid"}
    names.append(stream.get(receiver.input, f"blocks.{receiver.layer}.resid_pre"))
    if receiver.input in ("q", "k", "v"):
        names.append(f"blocks.{receiver.layer}.attn.{receiver.input}")
    return sorted(set(names))


def _change(
    decoder: Any, corrupt: mx.array, states: list[ActivationCache], sender: Component | Literal["embed"]
) -> mx.array:
    """Clean minus corrupt of what a sender adds to the stream."""
    if sender == "embed":
        return states[0]["embed"] - states[1]["embed"]
    prefix = f"blocks.{sender.layer}."
    if sender.kind != "head":
        name = prefix + ("attn_out" if sender.kind == "attention" else "mlp_out")
        return states[0][name] - states[1][name]
    z = states[0][prefix + "attn.z"]
    if sender.index is None or not 0 <= sender.index < z.shape[2]:
        raise RequestError(f"{sender.name}: block {sender.layer} has {z.shape[2]} heads, numbered from 0", "LI-E132")
    own = (mx.arange(z.shape[2]) == sender.index)[:, None]

    def patched(x: mx.array) -> mx.array:
        return mx.where(own, z, x)

    _, cache = run_with_cache(decoder, corrupt, prefix + "attn_out", hooks=[(prefix + "attn.z", patched)])
    return cache[prefix + "attn_out"] - states[1][prefix + "attn_out"]


def _renormed(norm: Any, x: mx.array, change: mx.array, *, is_frozen: bool) -> mx.array:
    if not is_frozen:
        return norm(x + change)
    return norm(x) + FrozenNorm(norm, x).linear(change).astype(x.dtype)


def _received(
    decoder: Any, state: ActivationCache, change: mx.array, receiver: Receiver, *, is_frozen: bool
) -> tuple[str, Hook]:
    block = decoder.layers[receiver.layer]
    prefix = f"blocks.{receiver.layer}."
    mixer_norm, feed_norm = block.input_norms
    if receiver.input == "mlp":
        normed = _renormed(part(block, feed_norm), state[prefix + "resid_mid"], change, is_frozen=is_frozen)
        return prefix + "mlp_in", lambda x: normed
    normed = _renormed(part(block, mixer_norm), state[prefix + "resid_pre"], change, is_frozen=is_frozen)
    project = part(block, f"{block.config.mixer.name}.{receiver.input}_proj")
    name = f"{prefix}attn.{receiver.input}"
    new = project(normed).reshape(state[name].shape)
    heads = new.shape[2]
    if receiver.head is not None and not 0 <= receiver.head < heads:
        raise RequestError(f"block {receiver.layer} has {heads} heads of {receiver.input}, numbered from 0", "LI-E132")
    own = mx.ones((heads, 1), dtype=mx.bool_) if receiver.head is None else (mx.arange(heads) == receiver.head)[:, None]
    return name, lambda x: mx.where(own, new, x)
