"""The base of all results: numbers with their provenance and request, as JSON and as a page."""

from typing import TYPE_CHECKING, Any

from lazarus_introspect.analysis.provenance import Provenance
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.pictures import Part, visible

if TYPE_CHECKING:
    from lazarus_core.html import Origin

RESULT_VERSION = 1
"""Raised when a key of a result changes its meaning."""


class PlainResult(Frozen):
    """Base of all results."""

    analysis: str
    """Name of the analysis: the command that computes it."""
    result_version: int = RESULT_VERSION
    request: dict[str, Any]
    """Everything that the analysis was asked, so that it can be run again."""
    command: dict[str, Any] | None = None
    """Name and settings of the command that computed it; None for a call from Python."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return self.analysis.capitalize()

    def pictures(self) -> list[Part]:
        """The numbers as pictures."""
        return []

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        return {}

    def to_html(self, *, origin: "Origin | None" = None) -> str:
        """The result as one HTML page that loads nothing.

        Args:
            origin: Command and time for the footer; see `lazarus_core.html.this_command`.
        """
        from lazarus_introspect.pictures import page

        return page(self.title, self.pictures(), about=self.about(), origin=origin)

    def to_json(self) -> str:
        """The result as a JSON object; numbers that are not finite are null."""
        return self.model_dump_json()


class BaseResult(PlainResult):
    """Base of results of a model."""

    provenance: Provenance

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"{self.analysis.capitalize()} of {self.provenance.model}"

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        origin = self.provenance
        return {
            "Model": f"{origin.model}, {origin.family}, {origin.parameters:,} parameters",
            "Fingerprints": f"weights {origin.weights[:16]}, tokenizer {origin.tokenizer[:16]}",
        }


class Result(BaseResult):
    """Base of results of one prompt."""

    prompt: str
    ids: tuple[int, ...]
    """Token ids of the prompt."""
    tokens: tuple[str, ...]
    """Text of each token of the prompt."""

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        prompt = f"{len(self.ids):,} tokens: {visible(''.join(self.tokens), 300)}"
        return super().about() | {"Prompt": prompt}
