"""The command `probe`: linear probes of labelled prompts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.commands import Force
from lazarus_introspect.cli.options import (
    Adapter,
    Layers,
    Model,
    Raw,
    Seed,
    opened,
    parse_numbers,
    quoted,
)
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import (
    SCORE_HEAD,
    Folds,
    Labelled,
    Permutations,
    Pooling,
    Site,
    score_row,
    settings_of,
    show_set_head,
)

if TYPE_CHECKING:
    from lazarus_introspect.probing.findings import ProbeResult


@writes_result
def probe(
    model: Model,
    data: Labelled,
    adapter: Adapter = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("-p", "--prompt", help="Label this prompt by the best probe; repeat for several."),
    ] = None,
    site: Site = "resid",
    layers: Layers = None,
    pooling: Pooling = "last",
    kind: Annotated[
        Literal["ridge", "logistic"], typer.Option("--kind", help="Fit a ridge or a (slower) logistic regression.")
    ] = "ridge",
    penalty: Annotated[
        float | None,
        typer.Option("--penalty", help="L2 penalty for each feature [default: ridge by leave-one-out, logistic 0.1]."),
    ] = None,
    folds: Folds = 5,
    permutations: Permutations = 200,
    method: Annotated[
        Literal["mean_difference", "lda", "ridge"] | None,
        typer.Option("--direction", help="Compute the direction between two classes at the best layer by this method."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the direction for `steer --direction`.")
    ] = None,
    force: Force = False,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Test what a linear probe reads from each layer, against chance and against the words alone.

    Example: -m smollm2-360m -d moods.jsonl --layers 0-8 --pooling mean
    Example: -m smollm2-360m -d moods.jsonl --direction lda -o happy.json -p "What a day!"
    """
    from lazarus_core.console import say
    from lazarus_core.outputs import check_output
    from lazarus_introspect.causal.direction import DIRECTION
    from lazarus_introspect.errors import RequestError
    from lazarus_introspect.probing import ProbeConfig, probe_prompts, read_labelled

    if output is not None:
        if method is None:
            raise RequestError("-o writes a direction: choose its method by --direction", "LI-E146")
        check_output(output, DIRECTION, inputs=[data, Path(model)], force=force)
    numbers = parse_numbers(layers)
    config = settings_of(
        ProbeConfig,
        site=site,
        layers=None if numbers is None else tuple(numbers),
        pooling=pooling,
        kind=kind,
        penalty=penalty,
        folds=folds,
        permutations=permutations,
        seed=seed,
        raw=raw,
    )
    labels = read_labelled(data)
    with opened(model, adapter) as analyzer:
        result = probe_prompts(
            analyzer, labels, config, predict=prompt or (), direction=method, output=output, force=force
        )
    if output is not None:
        say(f"wrote {output}")
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "ProbeResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    best = result.probes[result.best]
    classes = ", ".join(f"{name} {count}" for name, count in result.classes.items()) or "numbers"
    more = {"labels": f"{classes}; {result.different} different prompts, {result.token_types} token types"}
    if result.majority is not None:
        more["majority"] = (
            f"{result.majority:.3f} of the prompts; {best.measure} of a constant answer {best.baseline:.3f}"
        )
    more["best"] = f"{best.features}, {best.pooling}: {best.measure} {best.score:.3f}, {best.verdict}"
    show_set_head(result, more)
    rows = [list(SCORE_HEAD), *(score_row(each) for each in (result.lexical, *result.probes))]
    show("\n" + aligned(rows, right=range(2, 10)))
    show(
        f"\nscore: {best.measure} with its 95 % interval; verdicts need q <= 0.05; the best of several scores is an overestimate"
    )
    if result.direction is not None:
        found = result.direction
        names = f"{found.positive} - {found.negative} at {found.site} ({found.method})"
        show(f"direction: {names}, norm {found.norm:.3f}, effect size {found.effect:.2f} in these prompts")
    for each in result.predictions:
        label = quoted(each.label, 40) if isinstance(each.label, str) else f"{each.label:.3f}"
        show(f"{quoted(each.prompt, 60)}: {label}")
