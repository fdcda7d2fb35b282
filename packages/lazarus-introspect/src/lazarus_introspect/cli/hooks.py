"""The command `hooks`: the sites of a model, with shapes, norms and digests of their activations."""

from typing import Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Layers, Model, PromptText, Raw, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def hooks(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    layers: Layers = None,
    names: Annotated[
        str | None, typer.Option("--sites", help="Capture these sites, comma-separated; * matches any text.")
    ] = None,
    capture_attention: Annotated[
        bool, typer.Option("--capture-attention", help="Also capture scores and patterns of attention.")
    ] = False,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """List the sites of a model, with shape, norm and digest of each activation on a prompt.

    Example: -m smollm2-360m -p "Test" --layers 0,4,8 --capture-attention
    """
    import hashlib

    import numpy as np

    from lazarus_core.console import show
    from lazarus_introspect.analysis import read_prompt
    from lazarus_introspect.analysis.results import HooksResult, SiteActivation
    from lazarus_introspect.analysis.settings import check_layers
    from lazarus_introspect.cache import choose_sites, run_with_cache
    from lazarus_introspect.metrics import numbers
    from lazarus_introspect.site_table import sites
    from lazarus_tokenkit.tables import aligned

    chosen = parse_numbers(layers)
    with opened(model, adapter) as analyzer:
        read = read_prompt(analyzer.lm, prompt, raw=raw)
        found = sites(analyzer.lm)
        if chosen is not None:
            check_layers(chosen, found.layers)
        asked = choose_sites(found, None if names is None else [each.strip() for each in names.split(",")])
        wanted = [
            site
            for site in asked
            if (chosen is None or site.layer is None or site.layer in chosen)
            and (capture_attention or names is not None or not site.is_computed_on_demand)
        ]
        _, cache = run_with_cache(analyzer.lm, read.rows, [site.name for site in wanted])
        rows: list[SiteActivation] = []
        for site in wanted:
            values = numbers(cache[site.name])
            rows.append(
                SiteActivation(
                    site=site.name,
                    axes=site.axes,
                    shape=values.shape,
                    dtype=str(cache[site.name].dtype).rpartition(".")[2],
                    norm=float(np.linalg.norm(values[np.isfinite(values)])),
                    sha256=hashlib.sha256(values.astype(np.float32).tobytes()).hexdigest(),
                )
            )
        absent = {name: why for name, why in found.absent.items() if chosen is None or _layer(name) in chosen}
        request = {"layers": chosen, "sites": names, "capture_attention": capture_attention, "raw": raw}
        result = HooksResult(**analyzer.about("hooks", read, request), sites=tuple(rows), absent=absent)
    if outputs.publish(result):
        return
    table = [["site", "axes", "shape", "dtype", "norm", "sha256"]]
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        table.append([row.site, row.axes, shape, row.dtype, f"{row.norm:.4f}", row.sha256[:16]])
    show(aligned(table, right=[4]))
    reasons = sorted(set(absent.values()))
    if reasons and names is None:
        show("\nnot in this model:\n" + "\n".join(f"  {why}" for why in reasons))


def _layer(name: str) -> int | None:
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" else None
