"""Neurons that prefer a class of prompts, and clusters of prompts, in a model."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.errors import RequestError
from lazarus_introspect.probing.clustering import Algorithm, adjusted_rand, cluster
from lazarus_introspect.probing.features import Pooling, read_features, site_names
from lazarus_introspect.probing.findings import (
    LEVEL,
    ClustersResult,
    NeuronsResult,
    SelectiveNeuron,
    SiteClusters,
    about_set,
    read_prompts,
)
from lazarus_introspect.probing.folds import first_rows, group_numbers
from lazarus_introspect.probing.labelled_prompts import LabelledPrompts
from lazarus_introspect.probing.scores import permutation_p
from lazarus_introspect.probing.selectivity import rank_test
from lazarus_introspect.statistics import benjamini_hochberg


class NeuronsConfig(Frozen):
    """Settings of rank tests of neurons."""

    site: str = "mlp.post"
    """`resid`, or a site of a block with one vector a token."""
    layers: tuple[NonNegativeInt, ...] | None = None
    """Layers; None for all that have the site."""
    pooling: Pooling = "last"
    """Vector of a prompt."""
    top: PositiveInt = 50
    """Significant neurons that are listed."""
    raw: bool = True
    """Whether prompts are texts to continue."""


def selective_neurons(
    analyzer: ModelAnalyzer, labels: LabelledPrompts, config: NeuronsConfig | None = None
) -> NeuronsResult:
    """Neurons whose activations tell a class of prompts from the others; copies of a prompt count once.

    Args:
        analyzer: The model.
        labels: Prompts with classes.
        config: Settings; None for the defaults.

    Raises:
        RequestError: The labels are numbers, or a class has fewer than 8 different prompts.
    """
    config = config or NeuronsConfig()
    classes = labels.classes
    if classes is None:
        raise RequestError("neurons are tested for classes: give texts as labels", "LI-E082")
    read = read_prompts(analyzer, labels.prompts, raw=config.raw)
    once = first_rows(group_numbers([each.ids for each in read]))
    names = site_names(analyzer.lm, config.site, config.layers)
    features = read_features(analyzer.lm, [read[int(place)].ids for place in once.tolist()], names, [config.pooling])
    own = classes[once]
    kinds = list(enumerate(labels.names))[1:] if len(labels.names) == 2 else list(enumerate(labels.names))
    keys: list[tuple[str, int, str]] = []
    p_values: list[float] = []
    details: list[tuple[float, float, float]] = []
    for name in names:
        values = features[name, config.pooling]
        for kind, label in kinds:
            found = rank_test(values, own == kind)
            means, others = values[own == kind].mean(axis=0), values[own != kind].mean(axis=0)
            keys += [(name, neuron, label) for neuron in range(values.shape[1])]
            p_values += found.p.tolist()
            details += zip(found.auc.tolist(), means.tolist(), others.tolist(), strict=True)
    p = np.array(p_values)
    q = benjamini_hochberg(p)
    listed = [int(place) for place in np.argsort(p, kind="stable") if q[place] <= LEVEL][: config.top]
    neurons = tuple(
        SelectiveNeuron(
            site=keys[place][0],
            neuron=keys[place][1],
            label=keys[place][2],
            auc=details[place][0],
            p=float(p[place]),
            q=float(q[place]),
            mean=details[place][1],
            other_mean=details[place][2],
        )
        for place in listed
    )
    return NeuronsResult(
        **about_set(analyzer, "neurons", read, config.model_dump(mode="json")),
        labels=tuple(str(each) for each in labels.labels),
        tested=len(p),
        significant=int((q <= LEVEL).sum()),
        expected_by_chance=LEVEL * len(p),
        uncorrected=int((p <= LEVEL).sum()),
        neurons=neurons,
    )


class ClustersConfig(Frozen):
    """Settings of clusters of prompts."""

    clusters: Annotated[int, Field(ge=2, le=100)] = 2
    algorithm: Algorithm = "kmeans"
    """k-means, or Ward's agglomerative method."""
    site: str = "resid"
    """`resid`, or a site of a block with one vector a token."""
    layers: tuple[NonNegativeInt, ...] | None = None
    """Layers; None for all that have the site."""
    pooling: Pooling = "last"
    """Vector of a prompt."""
    nulls: Annotated[int, Field(ge=19, le=1000)] = 39
    """Draws of structureless states; the smallest p-value is 1 / (nulls + 1)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of starts, nulls and shuffles."""
    raw: bool = True
    """Whether prompts are texts to continue."""


def cluster_prompts(
    analyzer: ModelAnalyzer,
    prompts: Sequence[str],
    labels: Sequence[str] | None = None,
    config: ClustersConfig | None = None,
) -> ClustersResult:
    """Clusters of the states of prompts at every chosen site, against states without structure.

    Args:
        analyzer: The model.
        prompts: Texts.
        labels: A class for each prompt, to compare clusters with; None for none.
        config: Settings; None for the defaults.

    Raises:
        RequestError: There are too few different states for as many clusters.
    """
    config = config or ClustersConfig()
    read = read_prompts(analyzer, prompts, raw=config.raw)
    names = site_names(analyzer.lm, config.site, config.layers)
    features = read_features(analyzer.lm, [each.ids for each in read], names, [config.pooling])
    classes = None if labels is None else group_numbers(labels)
    rng = np.random.default_rng([config.seed, 17])
    found: list[SiteClusters] = []
    for name in names:
        values = features[name, config.pooling]
        if len(np.unique(values, axis=0)) <= config.clusters and len(names) > 1:
            continue  # such as the embedding of a last token that all prompts share
        own = cluster(values, config.clusters, algorithm=config.algorithm, nulls=config.nulls, seed=config.seed)
        agreement = p = None
        if classes is not None:
            agreement = adjusted_rand(own.assigned, classes)
            p = permutation_p(agreement, [adjusted_rand(own.assigned, rng.permutation(classes)) for _ in range(199)])
        found.append(
            SiteClusters(
                site=name,
                silhouette=own.silhouette,
                null_mean=float(own.null.mean()),
                null_high=float(np.quantile(own.null, 0.95)),
                p=own.p,
                q=own.p,
                assigned=tuple(own.assigned.tolist()),
                agreement=agreement,
                agreement_p=p,
            )
        )
    if not found:
        raise RequestError(f"no site has more than {config.clusters} different states: give more prompts", "LI-E087")
    q = benjamini_hochberg(np.array([each.p for each in found]))
    return ClustersResult(
        **about_set(analyzer, "clusters", read, config.model_dump(mode="json")),
        labels=None if labels is None else tuple(labels),
        sites=tuple(each.model_copy(update={"q": float(q[place])}) for place, each in enumerate(found)),
    )
