"""The command `activation-diff`: differences of the activations of two models on the same prompts."""

from typing import Annotated

import typer

from lazarus_introspect.cli.options import Raw, Seed
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.pair_of_models import First, Second, opened_pair


@writes_result
def activation_diff(
    first: First,
    second: Second,
    prompt: Annotated[
        list[str], typer.Option("-p", "--prompt", help="Compare on this prompt; repeat the option for several.")
    ],
    names: Annotated[
        str | None,
        typer.Option("--sites", help="Sites or patterns, comma-separated [default: streams and outputs of parts]."),
    ] = None,
    skip: Annotated[
        int, typer.Option("--skip", min=0, help="Leave out this many positions at the start of each prompt.")
    ] = 1,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=3, max=16384, help="Compare a sample if there are more tokens.")
    ] = 1024,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Compare the activations of two models, or of a model with and without an adapter.

    Example: smollm2-360m checkpoints/sft/final -p "The capital of France is" -p "2 + 2 =" --raw
    """
    from lazarus_core.console import show
    from lazarus_core.errors import reworded
    from lazarus_introspect.differences import compare_activations
    from lazarus_tokenkit.tables import aligned

    chosen = None if names is None else [each.strip() for each in names.split(",")]
    with opened_pair(first, second) as (one, two), reworded(_with_options):
        result = compare_activations(
            one, two, prompt, names=chosen, skip=skip, max_tokens=max_tokens, seed=seed, raw=raw
        )
    if outputs.publish(result):
        return
    head = {name.lower(): fact for name, fact in result.about().items()}
    kl = "-" if result.kl is None else f"{result.kl:.4f} nats"
    head["output"] = f"mean KL {kl}; the same prediction after {result.agreement:.1%} of the tokens"
    show(aligned(list(head.items())))
    rows = [["site", "relative", "cosine", "(shuffled)", "CKA", "(shuffled)", "p"]]
    for each in result.sites:
        figures = (each.relative, each.cosine, each.cosine_shuffled, each.cka, each.cka_shuffled, each.p)
        rows.append([each.site, *("-" if value is None else f"{value:.3f}" for value in figures)])
    show("\n" + aligned(rows, right=range(1, 7)))
    if result.missing:
        names_of = ", ".join(result.missing[:6])
        show(f"\nin one of the models only: {names_of}" + (" and more" if len(result.missing) > 6 else ""))


def _with_options(message: str) -> str:
    for field, option in (("`prompts`", "--prompt"), ("`skip`", "--skip"), ("`names`", "--sites")):
        message = message.replace(field, option)
    return message
