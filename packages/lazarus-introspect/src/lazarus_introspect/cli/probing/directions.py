"""The command `directions`: how much directions of probes agree."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lazarus_introspect.cli.options import AsJson, Seed
from lazarus_introspect.cli.outputs import command_of


def directions(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Directions that `probe -o` wrote, two or more.")],
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare directions by their cosines, against those of random directions.

    Example: happy.json calm.json
    """
    from lazarus_core.console import show
    from lazarus_introspect.causal import load_direction
    from lazarus_introspect.probing import compare_vectors
    from lazarus_tokenkit.tables import aligned

    loaded = [load_direction(path) for path in files]
    found = compare_vectors([each.vector.astype(float) for each in loaded], seed=seed)
    if as_json:
        said = {
            "analysis": "directions",
            "command": command_of(context),
            "request": {"files": [str(path) for path in files], "seed": seed},
            "directions": [
                {
                    "site": each.site,
                    "method": each.method,
                    "negative": each.negative,
                    "positive": each.positive,
                    "weights": each.weights,
                }
                for each in loaded
            ],
            "cosines": found.cosines.tolist(),
            "percentiles": found.percentiles.tolist(),
            "p": found.p.tolist(),
        }
        show(json.dumps(said, ensure_ascii=False))
        return
    rows = [["direction", "direction", "cosine", "percentile", "p"]]
    for one in range(len(loaded)):
        for other in range(one + 1, len(loaded)):
            figures = [
                f"{found.cosines[one, other]:+.4f}",
                f"{100 * found.percentiles[one, other]:.1f}",
                f"{found.p[one, other]:.1e}",
            ]
            rows.append([loaded[one].name, loaded[other].name, *figures])
    show(aligned(rows, right=[2, 3, 4]))
    show(
        "\npercentile: random directions of this width with a smaller absolute cosine, %; activations are not random directions"
    )
