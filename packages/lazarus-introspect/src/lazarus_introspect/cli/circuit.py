"""The commands `circuit ...`: graphs of results, and rates of detectors on models with a known circuit."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lazarus_core.cli_app import App
from lazarus_core.commands import Force
from lazarus_introspect.cli.options import AsJson, Seed

_DETECTORS = ("heads", "attribution", "probes", "experts")

circuit_app = App(
    name="circuit",
    help="Circuits: graphs of results, and rates of detectors on models with a known circuit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@circuit_app.command()
def export(
    file: Annotated[
        Path, typer.Option("-i", "--input", help="Result of ablate, moe ablate or attribute, printed with --json.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the graph to this file.")],
    form: Annotated[
        Literal["html", "dot", "json"], typer.Option("-f", "--format", help="A page, a Graphviz graph, or JSON.")
    ] = "html",
    top: Annotated[int, typer.Option("--top", min=1, help="Keep this many components, by their effect.")] = 100,
    force: Force = False,
) -> None:
    """Write a graph of components and their effects on the output.

    Example: -i ablation_results.json -o circuit.html -f html

    Example: -i ablation_results.json -o circuit.dot -f dot
    """
    from lazarus_core.atomic import whole_file
    from lazarus_core.console import say
    from lazarus_core.html import PAGE, this_command
    from lazarus_core.outputs import OutputKind, begins_with, check_output
    from lazarus_introspect.circuits import read_graph
    from lazarus_introspect.circuits.graph import DOT_START

    kinds = {
        "html": PAGE,
        "dot": OutputKind("a graph of Lazarus", begins_with(DOT_START)),
        "json": OutputKind("a graph of Lazarus", begins_with(r'\{"analysis":"[a-z ]+","model":')),
    }
    check_output(output, kinds[form], inputs=[file] if file.exists() else [], force=force)
    graph = read_graph(file).limited(top)
    text = {"html": lambda: graph.to_html(origin=this_command()), "dot": graph.to_dot, "json": graph.to_json}[form]()
    with whole_file(output) as stream:
        stream.write(text.encode())
    say(f"wrote {output}: {len(graph.edges)} components")


@circuit_app.command()
def rates(
    detectors: Annotated[
        str, typer.Option("--detectors", help="Run these: heads, attribution, probes, experts, comma-separated.")
    ] = ",".join(_DETECTORS),
    planted: Annotated[
        int, typer.Option("--planted", min=1, max=10_000, help="Models with a circuit, for each detector and circuit.")
    ] = 5,
    random: Annotated[
        int, typer.Option("--random", min=1, max=10_000, help="Random models, for each detector and circuit.")
    ] = 40,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure how often detectors find a planted circuit, and how often they find one in random models.

    The exit code is 1 if a planted component was not found, or if a detector has more false positives than it states.

    Example: --detectors heads --planted 10 --random 100
    """
    import json

    from lazarus_core.console import say, show
    from lazarus_introspect.circuits import detector_rates
    from lazarus_introspect.errors import RequestError
    from lazarus_tokenkit.tables import aligned

    chosen = [each.strip() for each in detectors.split(",")]
    wrong = [each for each in chosen if each not in _DETECTORS]
    if wrong:
        raise RequestError(f"--detectors {wrong[0]!r} is unknown; choose from {', '.join(_DETECTORS)}", "LI-E146")
    found = detector_rates(planted=planted, random=random, detectors=chosen, seed=seed, progress=say)
    if as_json:
        request = {"detectors": chosen, "planted": planted, "random": random, "seed": seed}
        show(
            json.dumps(
                {"analysis": "circuit rates", "request": request, "rates": [each.model_dump() for each in found]}
            )
        )
    else:
        rows = [["detector", "layers of", "found", "interval", "in random models", "interval", "stated"]]
        for each in found:
            true, false = each.true_interval, each.false_interval
            hit = "-" if true is None else f"{each.found} of {each.planted}"
            rows.append(
                [
                    each.detector,
                    each.circuit,
                    hit,
                    "-" if true is None else f"{true[0]:.0%} to {true[1]:.0%}",
                    f"{each.false} of {each.random}",
                    f"{false[0]:.1%} to {false[1]:.1%}",
                    f"{each.rate:.0%}" + ("" if each.is_as_stated else " *"),
                ]
            )
        show(aligned(rows, right=[2, 3, 4, 5]))
        show("\nintervals: Wilson, 95 %; *: not as stated")
    if not all(each.is_as_stated for each in found):
        raise typer.Exit(1)
