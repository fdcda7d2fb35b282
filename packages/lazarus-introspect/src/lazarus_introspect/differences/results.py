"""Results of the differences of two models; `provenance` is that of the first."""

import numpy as np

from lazarus_introspect.analysis.provenance import Provenance
from lazarus_introspect.analysis.results.base import BaseResult
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.differences.activations import SiteDifference
from lazarus_introspect.differences.weights import TensorDifference
from lazarus_introspect.pictures import Part, bars, lines, table


class _Pair(BaseResult):
    second: Provenance

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        other = self.second
        said = f"{other.model}, {other.family}, {other.parameters:,} parameters, weights {other.weights[:16]}"
        return super().about() | {"Second": said}


class WeightDiffResult(_Pair):
    """The differences of the weights of two models."""

    relative: float | None
    """Norm of all differences over the norm of the first model's tensors; None if that is 0."""
    tensors: tuple[TensorDifference, ...]
    """Tensors of both models with equal shapes, sorted by name."""
    unchanged: int
    """Tensors of which all values are equal."""
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    other_shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """Tensors of both models with different shapes."""

    def by_layer(self) -> dict[int, float]:
        """Norm of the differences of each block over the norm of its tensors in the first model."""
        found: dict[int, tuple[float, float]] = {}
        for each in self.tensors:
            if each.layer is not None:
                change, norm = found.get(each.layer, (0.0, 0.0))
                found[each.layer] = (change + each.difference_norm**2, norm + each.norm**2)
        return {
            layer: float(np.sqrt(change / norm)) if norm else 0.0 for layer, (change, norm) in sorted(found.items())
        }

    def pictures(self) -> list[Part]:
        """The largest relative differences as bars, and those of the blocks as a line."""
        changed = {each.name: each.relative for each in self.tensors if each.relative}
        found: list[Part] = []
        if changed:
            order = sorted(changed, key=lambda name: -changed[name])
            found.append(
                bars(
                    "Relative difference of tensors", {name: changed[name] for name in order}, unit="share of the norm"
                )
            )
        layers = self.by_layer()
        if len(layers) > 1:
            series = {"relative difference": list(layers.values())}
            found.append(lines("Relative difference of blocks", series, steps=list(layers), unit="share of the norm"))
        names = [each.name for each in self.tensors if each.is_unchanged]
        found.append(table("Unchanged tensors", ["name"], [[name] for name in names]))
        return found


class ComparedPrompt(Frozen):
    """A prompt of both models."""

    prompt: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]


class ActivationDiffResult(_Pair):
    """The differences of the activations of two models on the same prompts."""

    prompts: tuple[ComparedPrompt, ...]
    compared: int
    """Tokens that were compared."""
    sites: tuple[SiteDifference, ...]
    missing: tuple[str, ...]
    """Sites that only one of the models has."""
    kl: float | None
    """Mean KL(first || second) of the next token, nats; None for other vocabularies."""
    agreement: float
    """Share of tokens after which both predict the same token."""

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        return super().about() | {"Prompts": f"{len(self.prompts)}; {self.compared:,} tokens compared"}

    def pictures(self) -> list[Part]:
        """Figures of each kind of site over the blocks as lines."""
        kinds: dict[str, list[SiteDifference]] = {}
        for each in self.sites:
            parts = each.site.split(".", 2)
            if parts[0] == "blocks":
                kinds.setdefault(parts[2], []).append(each)
        found: list[Part] = []
        for field, title in (("cka", "CKA"), ("relative", "Relative difference"), ("cosine", "Mean cosine")):
            series: dict[str, list[float]] = {}
            steps: list[int] | None = None
            for kind, own in kinds.items():
                values = [getattr(each, field) for each in own]
                layers = [int(each.site.split(".")[1]) for each in own]
                if None in values or (steps is not None and layers != steps):
                    continue
                steps, series[kind] = layers, values
                if field == "cka":
                    series[f"{kind}, shuffled tokens"] = [each.cka_shuffled or 0.0 for each in own]
            if series:
                found.append(lines(f"{title} over blocks", series, steps=steps, unit=field))
        return found
