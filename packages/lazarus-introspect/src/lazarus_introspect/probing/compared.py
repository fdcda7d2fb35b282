"""The result of comparing directions."""

from lazarus_introspect.analysis.results import PlainResult
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.pictures import Part, heatmap


class ComparedDirection(Frozen):
    """A direction that was compared."""

    name: str
    """Name of its file."""
    site: str
    method: str
    negative: str
    positive: str
    weights: str
    """Digest of the weights of its model."""


class DirectionsResult(PlainResult):
    """Cosines of directions; N = directions."""

    directions: tuple[ComparedDirection, ...]
    cosines: tuple[tuple[float, ...], ...]
    """(N, N)"""
    percentiles: tuple[tuple[float, ...], ...]
    """Share of random directions of this width with a smaller absolute cosine, (N, N)."""
    p: tuple[tuple[float, ...], ...]
    """p-values against random directions, (N, N)."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Directions {' and '.join(each.name for each in self.directions[:2])}"

    def pictures(self) -> list[Part]:
        """The cosines as a map."""
        names = [f"{each.name} ({each.site})" for each in self.directions]
        details = [[f"p {value:.2g}" for value in row] for row in self.p]
        return [
            heatmap(
                "Cosines of directions",
                self.cosines,
                rows=names,
                columns=names,
                details=details,
                unit="cosine",
                is_diverging=True,
                note="Under the pointer: p-values against random directions; activations are not random directions.",
            )
        ]
