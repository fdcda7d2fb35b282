"""The command `embedding`: what token embeddings tell about task and numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Model, Seed, opened
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import (
    SCORE_HEAD,
    Folds,
    Permutations,
    score_row,
    settings_of,
    show_set_head,
)

if TYPE_CHECKING:
    from lazarus_introspect.probing.findings import EmbeddingResult


@writes_result
def embedding(
    model: Model,
    adapter: Adapter = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "-d",
            "--data",
            help='Read prompts from this JSON Lines file: {"prompt": "...", "label": "..."} [default: four seeded tasks].',
        ),
    ] = None,
    prompts: Annotated[
        int, typer.Option("-n", "--prompts", min=10, max=1000, help="Seeded prompts of each task.")
    ] = 30,
    folds: Folds = 5,
    permutations: Permutations = 200,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Test whether token embeddings tell the task of a prompt, or its numbers, beyond what a bag of tokens tells.

    Example: -m smollm2-360m
    Example: -m smollm2-360m -d moods.jsonl
    """
    from lazarus_introspect.probing import EmbeddingConfig, probe_embeddings, read_labelled

    config = settings_of(EmbeddingConfig, prompts_per_task=prompts, folds=folds, permutations=permutations, seed=seed)
    labels = None if data is None else read_labelled(data)
    with opened(model, adapter) as analyzer:
        result = probe_embeddings(analyzer, labels, config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "EmbeddingResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    claims = [f"{each.target} ({each.pooling})" for each in result.claims]
    verdict = (
        f"embeddings tell {', '.join(claims)} beyond a bag of tokens"
        if claims
        else "no evidence beyond a bag of tokens"
    )
    classes = ", ".join(f"{name} {count}" for name, count in result.classes.items())
    show_set_head(result, ({"tasks": classes} if classes else {}) | {"conclusion": verdict})
    rows = [["target", "measure", *SCORE_HEAD]]
    for lexical in result.lexical:
        own = [lexical, *(each for each in result.probes if each.target == lexical.target)]
        rows += [[each.target, each.measure, *score_row(each)] for each in own]
    show("\n" + aligned(rows, right=range(4, 12)))
    show("\nscores with 95 % intervals; a claim needs q <= 0.05 against shuffled labels and against the bag of tokens")
