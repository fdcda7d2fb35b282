"""A graph of a stored result: components, and their effects on the output, as DOT, as a page or as JSON.

An edge is the effect of a component on the next token. Effects between components are not measured by an ablation, so the
graph has no edges between them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazarus_core.strict_json import read_object
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.errors import RequestError

if TYPE_CHECKING:
    from lazarus_core.html import Origin

DOT_START = "// a circuit of Lazarus\n"
"""First line of a DOT file."""
_MOST_BYTES = 256 * 1024 * 1024
_UNITS = {"ablate": "KL, nats", "moe ablate": "KL, nats", "attribute": "logits"}
"""Unit of the effects by analysis."""


class Edge(Frozen):
    """The effect of a component on the output."""

    component: str
    effect: float
    """In the unit of the graph; its size is the width of the edge."""
    detail: str
    """What happens to the output."""


class CircuitGraph(Frozen):
    """Components and their effects on the output."""

    analysis: str
    """Analysis of the result."""
    model: str
    prompt: str
    output: str
    """What the effects are on."""
    unit: str
    edges: tuple[Edge, ...]
    """By descending size of the effect."""
    left_out: int = 0
    """Components with smaller effects that are not in the graph."""

    def limited(self, count: int) -> "CircuitGraph":
        """The graph with the components of the largest effects.

        Args:
            count: Components.
        """
        return self.model_copy(
            update={"edges": self.edges[:count], "left_out": self.left_out + max(len(self.edges) - count, 0)}
        )

    def to_json(self) -> str:
        """The graph as a JSON object."""
        return self.model_dump_json()

    def to_dot(self) -> str:
        """The graph in the language of Graphviz."""
        largest = max((abs(each.effect) for each in self.edges), default=0.0) or 1.0
        title = f"{self.analysis} of {self.model}; edges: {self.unit}"
        lines = ["digraph circuit {", f"  rankdir=LR; label={_quoted(title)};", "  node [shape=box];"]
        lines.append(f"  prompt [label={_quoted(self.prompt)}];")
        lines.append(f"  output [label={_quoted(self.output)}];")
        for place, each in enumerate(self.edges):
            width = f"{0.5 + 5 * abs(each.effect) / largest:.2f}"
            style = "dashed" if each.effect < 0 else "solid"
            lines.append(f"  c{place} [label={_quoted(each.component)}, tooltip={_quoted(each.detail)}];")
            lines.append(f"  prompt -> c{place} [color=gray];")
            lines.append(
                f"  c{place} -> output [label={_quoted(f'{each.effect:.4g}')}, penwidth={width}, style={style}];"
            )
        return DOT_START + "\n".join([*lines, "}"]) + "\n"

    def to_html(self, *, origin: "Origin | None" = None) -> str:
        """The graph as one HTML page that loads nothing: effects as bars, and a table.

        Args:
            origin: Command and time for the footer; see `lazarus_core.html.this_command`.
        """
        from lazarus_introspect.pictures import bars, page, table, visible

        note = f"{self.left_out:,} components with smaller effects are left out." if self.left_out else ""
        effects = {each.component: each.effect for each in self.edges}
        rows = [[each.component, f"{each.effect:.6g}", each.detail] for each in self.edges]
        return page(
            f"Circuit: {self.analysis} of {self.model}",
            [
                bars(f"Effect of each component on {self.output}", effects, unit=self.unit, note=note, most=200),
                table("Components", ["component", self.unit, "output"], rows),
            ],
            about={"Model": self.model, "Prompt": visible(self.prompt, 300), "Output": self.output},
            origin=origin,
        )


def _quoted(text: str) -> str:
    r"""A text in DOT's quotes.

    >>> print(_quoted('a "b"\n'))
    "a \"b\"\n"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def read_graph(path: Path) -> CircuitGraph:
    """The graph of a stored result of `ablate`, `moe ablate` or `attribute`.

    Args:
        path: JSON of the command.

    Raises:
        RequestError: It is another file, or the result is incomplete.
        MalformedJson: It is no JSON.
    """
    found: dict[str, Any] = read_object(path, max_bytes=_MOST_BYTES)
    analysis = found.get("analysis")
    if analysis not in _UNITS:
        raise RequestError(
            f"{path}: `analysis` {analysis!r} has no circuit; give the JSON of a result of {', '.join(_UNITS)}",
            "LI-E175",
        )
    try:
        edges = sorted(_edges(analysis, found), key=lambda each: (-abs(each.effect), each.component))
        return CircuitGraph(
            analysis=analysis,
            model=found["provenance"]["model"],
            prompt=found["prompt"],
            output="the next token" if analysis != "attribute" else _pair(found),
            unit=_UNITS[analysis],
            edges=tuple(edges),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RequestError(
            f"{path}: a result of `{analysis}` that is incomplete; make its JSON again", "LI-E175"
        ) from error


def _edges(analysis: str, found: dict[str, Any]) -> Iterator[Edge]:
    if analysis == "ablate":
        config = found["request"]["config"]
        experts = ",".join(map(str, config.get("experts", [])))
        part = f" experts {experts}" if experts else "" if config["component"] == "layer" else f" {config['component']}"
        for each in found["ablations"]:
            met = {None: "", True: ", meets the criterion", False: ", does not meet the criterion"}[
                each["meets_criterion"]
            ]
            layers = ",".join(map(str, each["layers"]))
            detail = f"next token {each['top_token']!r}, log p {each['logprob_change']:+.4f}{met}"
            yield Edge(component=f"layer {layers}{part}", effect=each["kl"], detail=detail)
    elif analysis == "moe ablate":
        for each in found["experts"]:
            detail = f"next token {each['top_token']!r}, log p {each['logprob_change']:+.4f}, {each['used']} tokens"
            yield Edge(component=f"layer {each['layer']} expert {each['expert']}", effect=each["kl"], detail=detail)
    else:
        for each in found["heads"]:
            yield Edge(
                component=f"layer {each['layer']} head {each['head']}", effect=each["share"], detail="direct share"
            )
        for name, kind in (("mlp", "MLP"), ("mixer_rest", "rest of the mixer")):
            for layer, share in enumerate(found[name]):
                if share:
                    yield Edge(component=f"layer {layer} {kind}", effect=share, detail="direct share")


def _pair(found: dict[str, Any]) -> str:
    return f"logit of {found['positive']['text']!r} - {found['negative']['text']!r}"
