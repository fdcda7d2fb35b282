"""The result of listing sites: what each activation is."""

from lazarus_introspect.analysis.results.base import Result
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.pictures import Part, bars


class SiteActivation(Frozen):
    """The activation of one site on a prompt."""

    site: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    norm: float
    """Of the finite numbers: masked scores are minus infinity."""
    sha256: str
    """Digest of the numbers in float32, 64 hexadecimal digits."""


class HooksResult(Result):
    """Sites of a model with their activations."""

    sites: tuple[SiteActivation, ...]
    absent: dict[str, str]
    """Why a site is not in this model, by its name."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Activations of {self.provenance.model}"

    def pictures(self) -> list[Part]:
        """The norms by kind of site, over the blocks."""
        kinds: dict[str, dict[str, float]] = {}
        for each in self.sites:
            parts = each.site.split(".", 2)
            kind, place = (parts[2], f"block {parts[1]}") if parts[0] == "blocks" else ("the model", each.site)
            kinds.setdefault(kind, {})[place] = each.norm
        return [bars(f"Norm of {kind}", norms, unit="norm") for kind, norms in kinds.items()]
