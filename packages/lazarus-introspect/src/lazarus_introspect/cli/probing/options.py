"""Options and tables that commands of probing share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lazarus_core.console import show
from lazarus_introspect.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lazarus_introspect.probing.computation.problems import Share
    from lazarus_introspect.probing.findings import ProbeScore, PromptSetResult

Labelled = Annotated[
    Path,
    typer.Option("-d", "--data", help='Read prompts from this JSON Lines file: {"prompt": "...", "label": "..."}.'),
]
Site = Annotated[
    str, typer.Option("--site", help="Read this site of each layer: resid, attn_out, mlp_out, mlp.post, ...")
]
Pooling = Annotated[
    Literal["last", "last_varying", "mean"],
    typer.Option(
        "--pooling", help="Vector of a prompt: last token, last token before a shared suffix, mean without shared ends."
    ),
]
Folds = Annotated[int, typer.Option("--folds", min=5, max=100, help="Folds of cross-validation.")]
Permutations = Annotated[int, typer.Option("--permutations", min=19, max=10_000, help="Shuffles of each null.")]
Values = Annotated[str, typer.Option("--values", help="Values of both operands: 2-9, or 2,4,6,8.")]
Template = Annotated[str, typer.Option("--template", help="Prompt of a problem, with {a}, {op} and {b}.")]


def show_set_head(result: "PromptSetResult", more: "Mapping[str, str]") -> None:
    """Prints what a result of several prompts is of.

    Args:
        result: The result.
        more: Further lines by name.
    """
    from lazarus_introspect.cli.options import quoted
    from lazarus_tokenkit.tables import aligned

    origin = result.provenance
    first = quoted(result.prompts[0], 40)
    rows = [
        ("model", f"{origin.model} ({origin.family}, {origin.parameters:,} parameters, weights {origin.weights[:16]})"),
        ("prompts", f"{len(result.prompts):,}, such as {first}"),
        *more.items(),
    ]
    show(aligned(rows))


def score_row(each: "ProbeScore") -> list[str]:
    """A probe as a row of a table: features, pooling, score, interval, nulls, p-values and verdict."""
    figures = (each.score, each.low, each.high, each.shuffled, each.control, each.selectivity)
    against = "-" if each.lexical_q is None else f"{each.lexical_q:.3f}"
    values = [f"{value:.3f}" for value in figures]
    return [each.features, each.pooling, *values, f"{each.q:.3f}", against, each.verdict]


SCORE_HEAD = (
    *("features", "pooling", "score", "low", "high", "shuffled", "control", "selectivity", "q", "q lexical"),
    "verdict",
)


def share_text(share: "Share") -> str:
    """A share with interval, baseline and p-value."""
    return (
        f"{share.right} of {share.total} = {share.share:.3f} [{share.low:.3f}, {share.high:.3f}], "
        f"baseline {share.baseline:.3f}, p {share.p:.3f}"
    )


def settings_of(model: Any, **values: Any) -> Any:
    """Settings from options; a value that does not fit is an error that names its option.

    Args:
        model: The class of the settings.
        values: Values by name of the field.

    Raises:
        RequestError: A value is out of range.
    """
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        bounds = first.get("ctx", {})
        limits = [
            f"{word} {bounds[key]}"
            for key, word in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
            if key in bounds
        ]
        raise RequestError(
            f"{name} {first['input']}: give a number {' and '.join(limits)}".rstrip(), "LI-E146"
        ) from error


def texts(value: str, name: str) -> "Sequence[str]":
    """Comma-separated words.

    Args:
        value: Such as `+,*`.
        name: Option in messages.

    Raises:
        RequestError: There is none.
    """
    found = [each.strip() for each in value.split(",") if each.strip()]
    if not found:
        raise RequestError(f"{name} {value!r} is empty: give at least one", "LI-E146")
    return found
