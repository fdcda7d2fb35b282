"""Models whose circuit is known, because their weights are written by hand.

V = vocabulary, P = positions, D = model width, H = heads, W = width of a head, p = modulus

The residual stream is cut into slots in which a token, position or result is one number of 1 among zeros:

| circuit | slots of the stream | what is written by hand |
|---|---|---|
| `copy` | token, position, previous | one head attends to the token before, and copies it; the head reads `previous` |
| `induction` | token, position, previous, output | as `copy`; a head of block 1 attends to places whose previous token is the present one, and copies the token there |
| `modular-addition` | token, position, a, b, result | two heads bring a and b to the third position; p * p neurons are on for one pair each, and write its sum |
| `routed-expert` | random embeddings | digits and operators have a direction, other tokens its opposite; one expert's row of the router is the direction |

All other weights are random and small, and the places of the heads and of the expert are random: each seed is another model.
A random model has the same layers and no circuit: all its weights are random.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.errors import RequestError
from lazarus_models import LoadedModel, init_model
from lazarus_models.backend import mx
from lazarus_models.config import AttentionConfig, BlockConfig, DecoderConfig, MLPConfig, MoEConfig
from lazarus_models.families import canonical
from lazarus_models.trees import set_weights, weights
from lazarus_tokenkit import load_tokenizer

Circuit = Literal["copy", "induction", "modular-addition", "routed-expert"]
CIRCUITS: tuple[Circuit, ...] = get_args(Circuit)
Weights = dict[str, NDArray[np.float64]]

MODULUS = 11
_POSITIONS, _HEADS = 64, 4
_SHARP = 20.0
"""Score of the place that a planted head attends to; all others have about 0, and e^20 is 5e8."""
_NOISE = 0.3
"""Standard deviation of what a random matrix makes of a normed stream, per output; 1 in every second random model."""
_LOGIT = 10.0
"""Logit of the token that a circuit predicts."""


@dataclass(frozen=True)
class PlantedModel:
    """A model and what was planted in it; nothing for a random model."""

    circuit: Circuit
    lm: LoadedModel
    heads: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Block and head by kind of `detect_heads`."""
    component: str | None = None
    """The component that writes the prediction, as `attributed_components` names it."""
    expert: int | None = None
    """The expert of block 0 that receives digits and operators."""


def planted_model(circuit: Circuit, *, seed: int = 0) -> PlantedModel:
    """A model with a circuit.

    Args:
        circuit: Name of the circuit.
        seed: Random seed of places and small weights, at least 0.

    Raises:
        RequestError: There is no such circuit.
    """
    _check(circuit)
    lm = _architecture(circuit, seed)
    if circuit == "routed-expert":
        return _planted_expert(lm, seed)
    rng = np.random.default_rng([seed, 1])
    tensors = _random_weights(lm, rng, small=True)
    if circuit == "modular-addition":
        return _planted_sum(lm, tensors, rng)
    return _planted_copy(circuit, lm, tensors, rng)


def random_model(circuit: Circuit, *, seed: int = 0) -> PlantedModel:
    """A model with the layers of a circuit and random weights.

    Args:
        circuit: Name of the circuit.
        seed: Random seed, at least 0.

    Raises:
        RequestError: There is no such circuit.
    """
    _check(circuit)
    lm = _architecture(circuit, seed)
    tensors = _random_weights(lm, np.random.default_rng([seed, 2]), small=False)
    if seed % 2:  # sharp attention
        tensors = {name: value / (_NOISE if name.endswith("proj.weight") else 1) for name, value in tensors.items()}
    _set(lm, tensors)
    return PlantedModel(circuit, lm)


def _check(circuit: str) -> None:
    if circuit not in CIRCUITS:
        raise RequestError(f"`circuit` {circuit!r} is unknown; choose from {', '.join(CIRCUITS)}", "LI-E174")


def _architecture(circuit: Circuit, seed: int) -> LoadedModel:
    digits = "".join(map(chr, range(ord("a"), ord("a") + MODULUS))) + "="
    name = {"modular-addition": f"char:{digits}", "routed-expert": "byte"}.get(circuit, "char:")
    tokenizer = load_tokenizer(name)
    vocabulary = tokenizer.vocab_size
    bare = BlockConfig(mixer=_attention(max(vocabulary, _POSITIONS)), norm_names=("input_layernorm",))
    if circuit == "routed-expert":
        experts = MoEConfig(num_experts=8, num_experts_per_tok=2, width=16)
        block = BlockConfig(mixer=_attention(8), feed_forward=(experts,))
        config = DecoderConfig(vocab_size=vocabulary, width=64, blocks=(block,), positions=256)
    elif circuit == "modular-addition":
        mlp = MLPConfig(width=MODULUS**2, activation="relu", gated=False, bias=True)
        block = BlockConfig(mixer=_attention(vocabulary), feed_forward=(mlp,))
        config = DecoderConfig(vocab_size=vocabulary, width=vocabulary + 4 + 3 * MODULUS, blocks=(block,), positions=4)
    else:
        depth = 2 if circuit == "induction" else 1
        width = (1 + depth) * vocabulary + _POSITIONS
        config = DecoderConfig(vocab_size=vocabulary, width=width, blocks=(bare,) * depth, positions=_POSITIONS)
    said = {"model_type": "lazarus_decoder", "architecture": config.model_dump(mode="json"), "vocab_size": vocabulary}
    said |= {"hidden_size": config.width, "num_hidden_layers": len(config.blocks)}
    return init_model(canonical(said, f"circuit {circuit!r}"), tokenizer, seed=seed)


def _attention(head_dim: int) -> AttentionConfig:
    return AttentionConfig(num_heads=_HEADS, num_key_value_heads=_HEADS, head_dim=head_dim, rope=None, scale=1.0)


def _random_weights(lm: LoadedModel, rng: np.random.Generator, *, small: bool) -> Weights:
    """Random weights by name: embeddings of standard deviation 1, or 0 if small; outputs of matrices of about `_NOISE`."""
    found: Weights = {}
    for name, tensor in weights(lm.model).items():
        if name.endswith("norm.weight") or "layernorm" in name:
            found[name] = np.ones(tensor.shape)
        elif "embed" in name:
            found[name] = np.zeros(tensor.shape) if small else rng.normal(size=tensor.shape)
        elif name.endswith(".bias"):
            found[name] = np.zeros(tensor.shape)
        else:
            is_planted = name.endswith(("o_proj.weight", "c_fc.weight", "c_proj.weight", "lm_head.weight"))
            size = _NOISE * (0.1 if small and is_planted else 1)
            found[name] = rng.normal(size=tensor.shape) * size / np.sqrt(tensor.shape[-1])
    return found


def _set(lm: LoadedModel, tensors: Weights) -> None:
    set_weights(lm.model, {name: mx.array(value.astype(np.float32)) for name, value in tensors.items()})


class _Slots:
    """Places of the parts of the stream, and embeddings of tokens and positions in them."""

    def __init__(self, tensors: Weights, names: Mapping[str, int]) -> None:
        self.tensors = tensors
        starts = np.cumsum([0, *names.values()])
        self._places = {
            name: range(start, start + size) for (name, size), start in zip(names.items(), starts, strict=False)
        }
        self.width = int(starts[-1])
        for name, tensor in (("token", "embed_tokens"), ("position", "embed_positions")):
            table = tensors[f"model.{tensor}.weight"]
            for index in range(len(table)):
                table[index, self[name][index]] = 1

    def __getitem__(self, name: str) -> range:
        return self._places[name]

    def gain(self, parts: int) -> float:
        """The value of a 1 after the norm of a stream with this many ones."""
        return float(np.sqrt(self.width / parts))

    def head(
        self,
        layer: int,
        head: int,
        query: Mapping[int, int],
        key: Mapping[int, int],
        copied: str,
        into: str,
        *,
        parts: int,
    ) -> None:
        """Writes a head that attends where a query and a key have the same number, and copies a slot into another.

        Args:
            layer: Block.
            head: Head.
            query: Number by place in the stream.
            key: Number by place in the stream.
            copied: Slot that is copied.
            into: Slot of the copy.
            parts: Ones in the stream that the head reads.
        """
        prefix = f"model.layers.{layer}.self_attn."
        q, k, v, o = (self.tensors[f"{prefix}{name}_proj.weight"] for name in "qkvo")
        width = len(q) // _HEADS
        rows = slice(head * width, (head + 1) * width)
        gain = self.gain(parts)
        for matrix, numbers, size in ((q, query, _SHARP / gain**2), (k, key, 1.0)):
            matrix[rows] *= 0.1
            for place, number in numbers.items():
                matrix[rows.start + number, place] += size
        v[rows], o[:, rows] = 0, 0
        for number, (source, target) in enumerate(zip(self[copied], self[into], strict=False)):
            v[rows.start + number, source] = 1 / gain
            o[target, rows.start + number] = 1

    def read(self, name: str, first: int, *, parts: int) -> None:
        """The head of the vocabulary reads a slot: its numbers are the tokens from `first` on."""
        for number, place in enumerate(self[name]):
            self.tensors["lm_head.weight"][first + number, place] += _LOGIT / self.gain(parts)


def _planted_copy(circuit: Circuit, lm: LoadedModel, tensors: Weights, rng: np.random.Generator) -> PlantedModel:
    size = lm.config.vocab_size
    named = {"token": size, "position": _POSITIONS, "previous": size}
    slots = _Slots(tensors, named | ({"output": size} if circuit == "induction" else {}))
    position, previous = slots["position"], slots["previous"]
    one = int(rng.integers(_HEADS))
    before = {place: max(number - 1, 0) for number, place in enumerate(position)}
    slots.head(0, one, before, {place: n for n, place in enumerate(position)}, "token", "previous", parts=2)
    heads = {"previous": (0, one)}
    if circuit == "copy":
        slots.read("previous", 0, parts=3)
        _set(lm, tensors)
        return PlantedModel(circuit, lm, heads, f"layer 0 head {one}")
    two = int(rng.integers(_HEADS))
    same = {place: number for number, place in enumerate(slots["token"])}
    slots.head(1, two, same, {place: n for n, place in enumerate(previous)}, "token", "output", parts=3)
    slots.read("output", 0, parts=4)
    _set(lm, tensors)
    return PlantedModel(circuit, lm, heads | {"induction": (1, two)}, f"layer 1 head {two}")


def _planted_sum(lm: LoadedModel, tensors: Weights, rng: np.random.Generator) -> PlantedModel:
    size = lm.config.vocab_size
    slots = _Slots(tensors, {"token": size, "position": 4, "a": MODULUS, "b": MODULUS, "result": MODULUS})
    first = addition_first_token(lm)
    one, two = rng.permutation(_HEADS)[:2].tolist()
    position = slots["position"]
    for head, place, into in ((one, 0, "a"), (two, 1, "b")):
        slots.head(0, head, {position[2]: 0}, {position[place]: 0}, "token", into, parts=2)
        prefix = "model.layers.0.self_attn."
        rows = slice(head * size, (head + 1) * size)
        tensors[f"{prefix}o_proj.weight"][:, rows] = 0
        for number in range(MODULUS):  # only the digits are copied
            source = slots["token"][first + number]
            tensors[f"{prefix}v_proj.weight"][head * size + number] = 0
            tensors[f"{prefix}v_proj.weight"][head * size + number, source] = 1 / slots.gain(2)
            tensors[f"{prefix}o_proj.weight"][slots[into][number], head * size + number] = 1
    gain = slots.gain(4)
    for a in range(MODULUS):
        for b in range(MODULUS):
            neuron = a * MODULUS + b
            tensors["model.layers.0.mlp.c_fc.weight"][neuron, [slots["a"][a], slots["b"][b]]] += 1 / gain
            tensors["model.layers.0.mlp.c_fc.bias"][neuron] = -1.5
            tensors["model.layers.0.mlp.c_proj.weight"][slots["result"][(a + b) % MODULUS], neuron] += 2
    slots.read("result", first, parts=5)
    _set(lm, tensors)
    return PlantedModel("modular-addition", lm, {}, "layer 0 MLP")


def _planted_expert(lm: LoadedModel, seed: int) -> PlantedModel:
    rng = np.random.default_rng([seed, 3])
    tensors = _random_weights(lm, rng, small=False)
    width = tensors["model.embed_tokens.weight"].shape[1]
    drawn = np.asarray(rng.normal(size=(width,)), dtype=np.float64)
    direction = drawn / float(np.linalg.norm(drawn))
    embedding, positions = tensors["model.embed_tokens.weight"], tensors["model.embed_positions.weight"]
    embedding -= np.outer(embedding @ direction, direction)
    embedding -= 5 * direction  # the other numbers of a token have the norm 8
    embedding[[*b"0123456789+*/^%"]] += 10 * direction
    positions *= 0.1
    tensors["model.layers.0.self_attn.o_proj.weight"] *= 0.1
    expert = int(rng.integers(8))
    tensors["model.layers.0.mlp.gate.weight"][expert] = _NOISE * direction
    _set(lm, tensors)
    return PlantedModel("routed-expert", lm, {}, None, expert)


def addition_first_token(lm: LoadedModel) -> int:
    """The token of the number 0 in the model of `modular-addition`, `a`; the token before it is `=`."""
    return lm.config.vocab_size - MODULUS


def describe(model: PlantedModel) -> dict[str, Any]:
    """What was planted, by name."""
    found: dict[str, Any] = {f"head {kind}": list(place) for kind, place in model.heads.items()}
    found |= {} if model.component is None else {"attribution": model.component}
    return found | ({} if model.expert is None else {"expert": model.expert})
