"""The command `directions`: how much directions of probes agree."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_introspect.cli.options import Seed
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def directions(
    files: Annotated[list[Path], typer.Argument(help="Directions that `probe -o` wrote, two or more.")],
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Compare directions by their cosines, against those of random directions.

    Example: happy.json calm.json
    """
    from lazarus_core.console import show
    from lazarus_introspect.causal import load_direction
    from lazarus_introspect.probing import compare_vectors
    from lazarus_introspect.probing.compared import ComparedDirection, DirectionsResult
    from lazarus_tokenkit.tables import aligned

    loaded = [load_direction(path) for path in files]
    found = compare_vectors([each.vector.astype(float) for each in loaded], seed=seed)
    result = DirectionsResult(
        analysis="directions",
        request={"files": [str(path) for path in files], "seed": seed},
        directions=tuple(
            ComparedDirection(
                name=each.name,
                site=each.site,
                method=each.method,
                negative=each.negative,
                positive=each.positive,
                weights=each.weights,
            )
            for each in loaded
        ),
        cosines=tuple(map(tuple, found.cosines.tolist())),
        percentiles=tuple(map(tuple, found.percentiles.tolist())),
        p=tuple(map(tuple, found.p.tolist())),
    )
    if outputs.publish(result):
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
