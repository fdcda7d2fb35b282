"""The same tensors, laid out as Hugging Face stores them and as a model holds them.

Most tensors are the same in both. Experts are not: a file holds a matrix an expert, or gate and up of all experts in
one tensor, by halves or interleaved, transposed or not; a model holds one stack of matrices a projection, as mlx-lm does.
A rule says how, in both directions; its operations are lazy, so that shapes are known before a byte is loaded.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from lazarus_models.backend import mx


class Rule(NamedTuple):
    """One tensor of a file and what it is in the model; names are matched at their ends."""

    file: str
    model: tuple[str, ...]
    split: Callable[[mx.array], Sequence[mx.array]]
    """The file's tensor as the model's."""
    join: Callable[[Sequence[mx.array]], mx.array]
    """Undoes `split`."""


class Layout(NamedTuple):
    """How a family's files differ from its models."""

    stacked: tuple[tuple[str, str], ...] = ()
    """(`experts.{}.w1` in the file, `switch_mlp.gate_proj` in the model): a tensor an expert, and all in one."""
    rules: tuple[Rule, ...] = ()
    prefix: str = ""
    """What names begin with in a file that holds more than the text model, which is all that is read of it."""

    def to_model(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """A file's tensors as the model holds them."""
        out = dict(tensors)
        for file, model in self.stacked:
            out = _stack(out, file, model)
        for rule in self.rules:
            for name in [name for name in out if name.endswith("." + rule.file)]:
                start = name.removesuffix(rule.file)
                parts = rule.split(out.pop(name))
                out |= {start + end: part for end, part in zip(rule.model, parts, strict=True)}
        return out

    def to_file(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """A model's tensors as files hold them."""
        out = dict(tensors)
        for rule in self.rules:
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
        """What the tensors of a file that the rules name are called in the model; others keep their names."""
        found: set[str] = set()
        for name in names:
            rule = next((rule for rule in self.rules if name.endswith("." + rule.file)), None)
            found |= {name.removesuffix(rule.file) + end for end in rule.model} if rule else {name}
        return found


PLAIN = Layout()
"""Files and models are the same."""


def renamed(file: str, model: str) -> Rule:
    """A tensor of another name."""
    return Rule(file, (model,), _alone, _only)


def swapped(end: str) -> Rule:
    """A tensor whose last two axes change places."""
    return transposed(end, end)


def transposed(file: str, model: str) -> Rule:
    """A transposed matrix of another name."""

    def split(x: mx.array) -> list[mx.array]:
        return [_turned(x)]

    def join(parts: Sequence[mx.array]) -> mx.array:
        return _turned(_only(parts))

    return Rule(file, (model,), split, join)


def halves(file: str, gate: str, up: str) -> Rule:
    """Gate above up in one matrix (..., 2 * inside, width)."""
    return Rule(file, (gate, up), _upper_and_lower, _stacked_up)


def transposed_halves(file: str, gate: str, up: str) -> Rule:
    """Gate beside up in one transposed matrix (..., width, 2 * inside)."""

    def split(x: mx.array) -> list[mx.array]:
        return _upper_and_lower(_turned(x))

    def join(parts: Sequence[mx.array]) -> mx.array:
        return _turned(_stacked_up(parts))

    return Rule(file, (gate, up), split, join)


def interleaved(file: str, gate: str, up: str, *, matrix: bool) -> Rule:
    """Columns of gate and up in turn: (..., width, 2 * inside) for a transposed matrix, (..., 2 * inside) for a bias."""

    def split(x: mx.array) -> list[mx.array]:
        parts = [x[..., ::2], x[..., 1::2]]
        return [_turned(part) for part in parts] if matrix else parts

    def join(parts: Sequence[mx.array]) -> mx.array:
        return mx.stack([_turned(part) for part in parts] if matrix else list(parts), axis=-1).flatten(-2)

    return Rule(file, (gate, up), split, join)


def blocks(file: str, model: str) -> Rule:
    """Four-bit weights as bytes in blocks of 16, (..., inputs / 32, 16), and as words, (..., inputs / 8)."""

    def split(x: mx.array) -> list[mx.array]:
        return [_words(x)]

    def join(parts: Sequence[mx.array]) -> mx.array:
        return _blocks(_only(parts))

    return Rule(file, (model,), split, join)


def interleaved_rows(file: str, gate: str, up: str, *, in_blocks: bool) -> Rule:
    """Rows of gate and up in turn, (..., 2 * inside, .), of four-bit weights in blocks or of their scales."""

    def split(x: mx.array) -> list[mx.array]:
        x = _words(x) if in_blocks else x
        return [x[..., ::2, :], x[..., 1::2, :]]

    def join(parts: Sequence[mx.array]) -> mx.array:
        x = mx.stack(list(parts), axis=-2).flatten(-3, -2)
        return _blocks(x) if in_blocks else x

    return Rule(file, (gate, up), split, join)


def _words(x: mx.array) -> mx.array:
    return x.view(mx.uint32).flatten(-2)


def _blocks(x: mx.array) -> mx.array:
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
