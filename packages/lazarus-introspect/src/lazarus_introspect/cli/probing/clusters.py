"""The command `clusters`: clusters of prompts by their states."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_introspect.cli.options import Adapter, Layers, Model, Raw, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import Labelled, Pooling, Site, settings_of, show_set_head

if TYPE_CHECKING:
    from lazarus_introspect.probing.findings import ClustersResult


@writes_result
def clusters(
    model: Model,
    data: Labelled,
    adapter: Adapter = None,
    count: Annotated[
        int | None, typer.Option("-k", "--clusters", min=2, max=100, help="Clusters [default: as many as labels].")
    ] = None,
    algorithm: Annotated[
        Literal["kmeans", "ward"], typer.Option("--algorithm", help="k-means, or Ward's agglomerative method.")
    ] = "kmeans",
    site: Site = "resid",
    layers: Layers = None,
    pooling: Pooling = "last",
    nulls: Annotated[int, typer.Option("--nulls", min=19, max=1000, help="Draws of states without structure.")] = 39,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Cluster prompts by their states, and compare with states without structure and with the labels.

    Example: -m smollm2-360m -d moods.jsonl -k 3 --pooling mean
    """
    from lazarus_introspect.errors import RequestError
    from lazarus_introspect.probing import ClustersConfig, cluster_prompts, read_labelled

    labels = read_labelled(data)
    if labels.is_numeric:
        raise RequestError(f"{data}: clusters are compared with classes: give texts as labels", "LI-E082")
    numbers = parse_numbers(layers)
    config = settings_of(
        ClustersConfig,
        clusters=len(labels.names) if count is None else count,
        algorithm=algorithm,
        site=site,
        layers=None if numbers is None else tuple(numbers),
        pooling=pooling,
        nulls=nulls,
        seed=seed,
        raw=raw,
    )
    with opened(model, adapter) as analyzer:
        result = cluster_prompts(analyzer, labels.prompts, [str(each) for each in labels.labels], config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "ClustersResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    found = [each.site for each in result.sites if each.q <= 0.05]
    said = f"at {len(found)} of {len(result.sites)} sites" if found else "no evidence at any site"
    show_set_head(result, {"clusters": f"{said} (q <= 0.05 against states without structure)"})
    rows = [["site", "silhouette", "(null)", "(null 95 %)", "q", "agreement", "p", "sizes"]]
    for each in result.sites:
        sizes = ", ".join(str(each.assigned.count(number)) for number in range(max(each.assigned) + 1))
        agreement = ["-" if value is None else f"{value:.3f}" for value in (each.agreement, each.agreement_p)]
        figures = [f"{value:.3f}" for value in (each.silhouette, each.null_mean, each.null_high, each.q)]
        rows.append([each.site, *figures, *agreement, sizes])
    show("\n" + aligned(rows, right=range(1, 7)))
    show("\nagreement: adjusted Rand index of clusters and labels, with the p-value of shuffled labels")
