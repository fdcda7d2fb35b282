"""Probes of labelled prompts in a model: every chosen site against chance, a control task and a bag of tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, NonNegativeInt

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.causal.direction import SteeringDirection, save_direction
from lazarus_introspect.errors import RequestError
from lazarus_introspect.probing.cross_validation import (
    Design,
    Kind,
    ProbeFigures,
    better_p,
    coded,
    cross_validate,
    design,
)
from lazarus_introspect.probing.directions import Method, class_direction, effect_size
from lazarus_introspect.probing.features import (
    Key,
    Numbers,
    Pooling,
    last_types,
    read_features,
    site_names,
    token_counts,
)
from lazarus_introspect.probing.findings import (
    DirectionFigures,
    Prediction,
    ProbeResult,
    ProbeScore,
    about_set,
    probe_score,
    read_prompts,
)
from lazarus_introspect.probing.labelled_prompts import LabelledPrompts
from lazarus_introspect.probing.linear import basis, ridge
from lazarus_introspect.statistics import benjamini_hochberg

LEXICAL: tuple[str, str] = ("bag of tokens", "count")


class ProbeConfig(Frozen):
    """Settings of linear probes."""

    site: str = "resid"
    """`resid` (layer l is the stream that enters block l, L enters the last norm), or a site of a block such as `mlp_out`."""
    layers: tuple[NonNegativeInt, ...] | None = None
    """Layers; None for all that have the site."""
    pooling: Pooling = "last"
    """Vector of a prompt: its last token, the last token before a shared suffix, or the mean without shared ends."""
    kind: Kind = "ridge"
    """Ridge regression, or logistic regression (classes only; takes 100 times as long)."""
    penalty: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    """L2 penalty as a factor of the number of features; None chooses by leave-one-out (ridge), or takes 0.1 (logistic)."""
    folds: Annotated[int, Field(ge=5, le=100)] = 5
    """Folds of cross-validation; equal prompts stay in one fold."""
    permutations: Annotated[int, Field(ge=19, le=10_000)] = 200
    """Shuffles of the labels; the smallest p-value is 1 / (permutations + 1)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of folds, shuffles and control tasks."""
    raw: bool = True
    """Whether prompts are texts to continue; otherwise user's messages in the chat template."""


def probe_prompts(
    analyzer: ModelAnalyzer,
    labels: LabelledPrompts,
    config: ProbeConfig | None = None,
    *,
    predict: Sequence[str] = (),
    direction: Method | None = None,
    output: Path | None = None,
    force: bool = False,
) -> ProbeResult:
    """Linear probes of labelled prompts at every chosen site.

    Args:
        analyzer: The model.
        labels: Prompts with classes or numbers.
        config: Settings; None for the defaults.
        predict: Prompts that the best probe, fitted to all labelled ones, labels.
        direction: Direction between two classes at the best site; None for none.
        output: File of the direction, for `steer`; None writes none.
        force: Whether `output` may replace a file of another kind.

    Raises:
        RequestError: A class has fewer different prompts than folds, or a direction is asked for of other than two classes.
        SiteError: A block does not have the site.
    """
    config = config or ProbeConfig()
    if direction is not None and len(labels.names) != 2:
        raise RequestError(
            f"a direction needs labels of two classes; the labels have {len(labels.names) or 'numbers'}", "LI-E082"
        )
    if config.kind == "logistic" and labels.is_numeric:
        raise RequestError("`kind` logistic needs classes; use ridge for numbers", "LI-E082")
    read = read_prompts(analyzer, labels.prompts, raw=config.raw)
    rows = [each.ids for each in read]
    plan = design(
        labels, rows, last_types(rows), folds=config.folds, permutations=config.permutations, seed=config.seed
    )
    names = site_names(analyzer.lm, config.site, config.layers)
    asked = read_prompts(analyzer, predict, raw=config.raw)
    features = read_features(
        analyzer.lm, [*rows, *(each.ids for each in asked)], names, [config.pooling], shared_by=rows
    )
    own = {key: values[: len(rows)] for key, values in features.items()}
    lexical, probes = score_all(own, token_counts(rows), plan, "label", labels.names, config)
    best = int(np.argmax([each.score for each in probes]))
    key = list(features)[best]
    classes = labels.classes
    request: dict[str, Any] = {**config.model_dump(mode="json"), "predict": list(predict), "direction": direction}
    found = None
    if direction is not None and classes is not None:
        vector = class_direction(own[key], classes == 1, direction)
        found = DirectionFigures(
            site=key[0],
            method=direction,
            negative=labels.names[0],
            positive=labels.names[1],
            norm=float(np.linalg.norm(vector)),
            effect=effect_size(own[key], classes == 1, vector),
        )
        if output is not None:
            made = SteeringDirection(
                site=key[0],
                vector=vector.astype(np.float32),
                method=direction,
                negative=labels.names[0],
                positive=labels.names[1],
                weights=analyzer.provenance.weights,
            )
            save_direction(made, output, force=force)
    counts = {} if classes is None else {name: int((classes == place).sum()) for place, name in enumerate(labels.names)}
    return ProbeResult(
        **about_set(analyzer, "probe", read, request),
        labels=labels.labels,
        classes=counts,
        majority=max(counts.values()) / len(rows) if counts else None,
        different=int(plan.groups.max()) + 1,
        token_types=len(set(last_types(rows))),
        lexical=lexical,
        probes=probes,
        best=best,
        predictions=_predictions(predict, own[key], features[key][len(rows) :], plan, labels, config.penalty),
        direction=found,
    )


def score_all(
    features: Mapping[Key, Numbers],
    counts: Numbers,
    plan: Design,
    target: str,
    names: Sequence[str],
    config: ProbeConfig,
) -> tuple[ProbeScore, tuple[ProbeScore, ...]]:
    """The bag of tokens and every set of features, with p-values corrected over the sets.

    Args:
        features: Vectors by site and pooling, (n, d) each.
        counts: Counts of tokens, (n, V).
        plan: Labels and folds.
        target: What is predicted.
        names: Classes; none for numbers.
        config: Settings.
    """

    def scored(values: Numbers) -> ProbeFigures:
        return cross_validate(values, plan, kind=config.kind, penalty=config.penalty)

    lexical = scored(counts)
    found = {key: scored(values) for key, values in features.items()}
    q = benjamini_hochberg(np.array([each.p for each in found.values()]))
    against = benjamini_hochberg(np.array([better_p(each, lexical, seed=config.seed) for each in found.values()]))
    probes = tuple(
        probe_score(target, key, each, names, float(q[place]), float(against[place]))
        for place, (key, each) in enumerate(found.items())
    )
    return probe_score(target, LEXICAL, lexical, names, lexical.p, None), probes


def _predictions(
    prompts: Sequence[str],
    train: Numbers,
    test: Numbers,
    plan: Design,
    labels: LabelledPrompts,
    penalty: float | None,
) -> tuple[Prediction, ...]:
    """What a ridge probe of all labelled prompts says of others."""
    if not prompts:
        return ()
    base = basis(train, test)
    if not plan.count:
        values = ridge(base, plan.labels[:, :1, None], penalty).test[:, 0, 0]
        return tuple(
            Prediction(prompt=prompt, label=float(value), outputs={})
            for prompt, value in zip(prompts, values, strict=True)
        )
    outputs: Numbers = ridge(base, coded(plan.labels[:, :1], plan.count), penalty).test[:, 0]
    if plan.count == 2:
        outputs = np.concatenate([-outputs, outputs], axis=1)
    return tuple(
        Prediction(
            prompt=prompt,
            label=labels.names[int(row.argmax())],
            outputs={name: float(value) for name, value in zip(labels.names, row, strict=True)},
        )
        for prompt, row in zip(prompts, outputs, strict=True)
    )
