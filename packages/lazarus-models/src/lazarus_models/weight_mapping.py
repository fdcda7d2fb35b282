"""Conversion of tensors between the layout of Hugging Face files and the layout of models.

Most tensors are equal in both. Experts differ: a file has one matrix an expert, or gate and up projections of all experts in
one tensor, in halves or interleaved, transposed or not. A model has one stack of matrices a projection. A rule converts in
both directions. Its operations are lazy, so that shapes are known before data is loaded.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from lazarus_models.backend import mx


class Rule(NamedTuple):
    """One tensor of a file and the corresponding tensors of the model; names are matched at their ends."""

    file: str
    model: tuple[str, ...]
    split: Callable[[mx.array], Sequence[mx.array]]
    """Converts the file's tensor to the model's."""
    join: Callable[[Sequence[mx.array]], mx.array]
    """The inverse of `split`."""


class Layout(NamedTuple):
    """The differences between a family's files and its models."""

    stacked: tuple[tuple[str, str], ...] = ()
    """Pairs such as (`experts.{}.w1`, `switch_mlp.gate_proj`): one tensor an expert in the file, one stack in the model."""
    rules: tuple[Rule, ...] = ()
    prefix: str = ""
    """Prefix of the text model's names in a file that contains other models too."""

    def to_model(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """Converts a file's tensors to the model's layout."""
        out = dict(tensors)
        for file, model in self.stacked:  # experts.0.w1, experts.1.w1, ... -> one stack
            out = _stack(out, file, model)
        for rule in self.rules:  # one stored tensor -> one or two tensors of the model
            for name in [name for name in out if name.endswith("." + rule.file)]:
                start = name.removesuffix(rule.file)
                parts = rule.split(out.pop(name))
                out |= {start + end: part for end, part in zip(rule.model, parts, strict=True)}
        return out

    def to_file(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """Converts a model's tensors to the layout of files."""
        out = dict(tensors)
        for rule in self.rules:  # the reverse order of `to_model`
            for name in [name for name in out if name.endswith("." + rule.model[0])]:
                start = name.removesuffix(rule.model[0])
                out[start + rule.file] = rule.join([out.pop(start + end) for end in rule.model])
        for file, model in self.stacked:
            for name in [name for name in out if f".{model}." in name]:
                stack = out.pop(name)
                for expert in range(stack.shape[0]):
                    out[name.replace(model, file.format(expert))] = stack[expert]
        return out

    def names_in_model(self, names: Iterable[str]) -> set[str]:
        """The names in the model of a file's tensors; names without a rule stay."""
        found: set[str] = set()
        for name in names:
            rule = next((rule for rule in self.rules if name.endswith("." + rule.file)), None)
            found |= {name.removesuffix(rule.file) + end for end in rule.model} if rule else {name}
        return found


PLAIN = Layout()
"""Files and models have the same layout."""


def renamed(file: str, model: str) -> Rule:
    """A rule for a tensor with another name.

    Args:
        file: End of the name in files.
        model: End of the name in models.
    """
    return Rule(file, (model,), _alone, _only)


def swapped(end: str) -> Rule:
    """A rule for a tensor whose last two axes are swapped."""
    return transposed(end, end)


def transposed(file: str, model: str) -> Rule:
    """A rule for a transposed matrix with another name.

    Args:
        file: End of the name in files.
        model: End of the name in models.
    """

    def split(x: mx.array) -> list[mx.array]:
        return [_turned(x)]

    def join(parts: Sequence[mx.array]) -> mx.array:
        return _turned(_only(parts))

    return Rule(file, (model,), split, join)


def halves(file: str, gate: str, up: str) -> Rule:
    """A rule for gate rows above up rows in one matrix (..., 2 * inside, width).

    Args:
        file: End of the name in files.
        gate: End of the gate's name in models.
        up: End of the up projection's name in models.
    """
    return Rule(file, (gate, up), _upper_and_lower, _stacked_up)


def transposed_halves(file: str, gate: str, up: str) -> Rule:
    """A rule for gate columns before up columns in one transposed matrix (..., width, 2 * inside).

    Args:
        file: End of the name in files.
        gate: End of the gate's name in models.
        up: End of the up projection's name in models.
    """

    def split(x: mx.array) -> list[mx.array]:
        return _upper_and_lower(_turned(x))

    def join(parts: Sequence[mx.array]) -> mx.array:
        return _turned(_stacked_up(parts))

    return Rule(file, (gate, up), split, join)


def interleaved(file: str, gate: str, up: str, *, matrix: bool) -> Rule:
    """A rule for alternating gate and up columns.

    Args:
        file: End of the name in files.
        gate: End of the gate's name in models.
        up: End of the up projection's name in models.
        matrix: Whether it is a transposed matrix (..., width, 2 * inside), or a bias (..., 2 * inside).
    """

    def split(x: mx.array) -> list[mx.array]:
        parts = [x[..., ::2], x[..., 1::2]]  # even columns are the gate, odd ones the up projection
        return [_turned(part) for part in parts] if matrix else parts

    def join(parts: Sequence[mx.array]) -> mx.array:
        # A new last axis of two, merged with the one before it, alternates the columns again.
        return mx.stack([_turned(part) for part in parts] if matrix else list(parts), axis=-1).flatten(-2)

    return Rule(file, (gate, up), split, join)


def blocks(file: str, model: str) -> Rule:
    """A rule for 4-bit weights: 16-byte blocks (..., inputs / 32, 16) in files, 32-bit words (..., inputs / 8) in models.

    Args:
        file: End of the name in files.
        model: End of the name in models.
    """

    def split(x: mx.array) -> list[mx.array]:
        return [_words(x)]

    def join(parts: Sequence[mx.array]) -> mx.array:
        return _blocks(_only(parts))

    return Rule(file, (model,), split, join)


def interleaved_rows(file: str, gate: str, up: str, *, in_blocks: bool) -> Rule:
    """A rule for alternating gate and up rows, (..., 2 * inside, .), of 4-bit weights or of their scales.

    Args:
        file: End of the name in files.
        gate: End of the gate's name in models.
        up: End of the up projection's name in models.
        in_blocks: Whether the tensor is weights in 16-byte blocks, or scales.
    """

    def split(x: mx.array) -> list[mx.array]:
        x = _words(x) if in_blocks else x
        return [x[..., ::2, :], x[..., 1::2, :]]

    def join(parts: Sequence[mx.array]) -> mx.array:
        x = mx.stack(list(parts), axis=-2).flatten(-3, -2)  # rows alternate again
        return _blocks(x) if in_blocks else x

    return Rule(file, (gate, up), split, join)


def _words(x: mx.array) -> mx.array:
    """Reinterprets four bytes as a 32-bit word: eight 4-bit weights, the first one in the lowest bits."""
    return x.view(mx.uint32).flatten(-2)


def _blocks(x: mx.array) -> mx.array:
    """The inverse of `_words`: 16 bytes hold the 32 weights of a group."""
    return mx.unflatten(x.view(mx.uint8), -1, (-1, 16))


def _alone(x: mx.array) -> list[mx.array]:
    return [x]


def _only(parts: Sequence[mx.array]) -> mx.array:
    (part,) = parts
    return part


def _turned(x: mx.array) -> mx.array:
    return x.swapaxes(-1, -2)


def _upper_and_lower(x: mx.array) -> list[mx.array]:
    middle = x.shape[-2] // 2
    return [x[..., :middle, :], x[..., middle:, :]]


def _stacked_up(parts: Sequence[mx.array]) -> mx.array:
    return mx.concatenate(list(parts), axis=-2)


def _stack(tensors: dict[str, mx.array], file: str, model: str) -> dict[str, mx.array]:
    """Stacks the tensors of numbered experts in the order of their numbers."""
    pattern = re.compile(re.escape(file).replace(r"\{\}", r"(\d+)"))
    out: dict[str, mx.array] = {}
    found: dict[str, dict[int, mx.array]] = {}
    for name, tensor in tensors.items():
        if match := pattern.search(name):
            found.setdefault(name.replace(match[0], model), {})[int(match[1])] = tensor
        else:
            out[name] = tensor
    for name, experts in found.items():
        out[name] = mx.stack([experts[index] for index in sorted(experts)])
    return out
