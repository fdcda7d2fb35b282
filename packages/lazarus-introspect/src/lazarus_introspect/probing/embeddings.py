"""What token embeddings tell about the task and the numbers of a prompt, before any block has computed anything."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.probing.computation.problems import Problem
from lazarus_introspect.probing.cross_validation import design
from lazarus_introspect.probing.features import last_types, read_features, token_counts
from lazarus_introspect.probing.findings import EmbeddingResult, ProbeScore, about_set, read_prompts
from lazarus_introspect.probing.labelled_prompts import LabelledPrompts, labelled
from lazarus_introspect.probing.probes import ProbeConfig, score_all
from lazarus_introspect.statistics import benjamini_hochberg

EMBEDDING = "blocks.0.resid_pre"
"""The stream before the first block: the embedding with its factor and learned positions."""
TASKS = ("addition", "multiplication", "question", "sentence")
_OPERATORS = {"addition": "+", "multiplication": "*"}
_WHO = ("a child", "the farmer", "my sister", "the old king", "a young bird", "the teacher", "our friend", "the baker")
_DOES = ("found", "wanted", "carried", "painted", "lost", "bought", "opened", "forgot")
_WHAT = ("a red ball", "the small box", "some bread", "a warm coat", "the blue door", "two apples", "a long letter")


class EmbeddingConfig(Frozen):
    """Settings of probes of embeddings."""

    prompts_per_task: Annotated[int, Field(ge=10, le=1000)] = 30
    """Prompts of each task."""
    folds: Annotated[int, Field(ge=5, le=100)] = 5
    """Folds of cross-validation."""
    permutations: Annotated[int, Field(ge=19, le=10_000)] = 200
    """Shuffles of the labels."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of prompts, folds and shuffles."""


def task_prompts(count: int, *, seed: int) -> tuple[LabelledPrompts, list[Problem | None]]:
    """Different prompts of four tasks, as many of each, and the problems of the arithmetic ones.

    Args:
        count: Prompts of each task, at most 1,000.
        seed: Random seed.
    """
    rng = np.random.default_rng([seed, 12])
    prompts: list[str] = []
    labels: list[str] = []
    problems: list[Problem | None] = []
    for task in TASKS:
        known: dict[str, Problem | None] = {}
        while len(known) < count:
            left, right = (int(each) for each in rng.integers(2, 100, 2))
            words = [str(rng.choice(each)) for each in (_WHO, _DOES, _WHAT, _WHO)]
            if task in _OPERATORS:
                problem = Problem(left, _OPERATORS[task], right)
                known.setdefault(problem.text("{a} {op} {b} ="), problem)
            elif task == "question":
                known.setdefault(f"Why {words[1]} {words[0]} {words[2]} for {words[3]}?", None)
            else:
                known.setdefault(f"{words[0].capitalize()} {words[1]} {words[2]} for {words[3]}.", None)
        prompts += known
        problems += known.values()
        labels += [task] * count
    return labelled(prompts, labels), problems


def probe_embeddings(
    analyzer: ModelAnalyzer, labels: LabelledPrompts | None = None, config: EmbeddingConfig | None = None
) -> EmbeddingResult:
    """Probes of embeddings: mean pooled and last token, both without tokens that all prompts share at their ends.

    Args:
        analyzer: The model.
        labels: Prompts with labels; None for seeded prompts of four tasks, and the numbers of the arithmetic ones.
        config: Settings; None for the defaults.

    Raises:
        RequestError: A class has fewer different prompts than folds.
    """
    config = config or EmbeddingConfig()
    found, problems = (labels, []) if labels else task_prompts(config.prompts_per_task, seed=config.seed)
    read = read_prompts(analyzer, found.prompts, raw=True)
    rows = [each.ids for each in read]
    parts = [_score(analyzer, rows, found, "label" if labels else "task", config)]
    solved = [place for place, problem in enumerate(problems) if problem is not None]
    if solved:
        chosen = [problem for problem in problems if problem is not None]
        values = {
            "left operand": [each.left for each in chosen],
            "right operand": [each.right for each in chosen],
            "result": [each.answer for each in chosen],
        }
        for target, numbers in values.items():
            own = labelled([found.prompts[place] for place in solved], numbers)
            parts.append(_score(analyzer, [rows[place] for place in solved], own, target, config))
    probes = _corrected([probe for _, own in parts for probe in own])
    names = found.names
    classes = found.classes
    counts = {} if classes is None else {name: int((classes == place).sum()) for place, name in enumerate(names)}
    request = {**config.model_dump(mode="json"), "labels": None if labels is None else list(labels.labels)}
    return EmbeddingResult(
        **about_set(analyzer, "embedding", read, request),
        classes=counts,
        probes=probes,
        lexical=tuple(lexical for lexical, _ in parts),
    )


def _score(
    analyzer: ModelAnalyzer,
    rows: Sequence[tuple[int, ...]],
    labels: LabelledPrompts,
    target: str,
    config: EmbeddingConfig,
) -> tuple[ProbeScore, tuple[ProbeScore, ...]]:
    settings = ProbeConfig(folds=config.folds, permutations=config.permutations, seed=config.seed)
    plan = design(
        labels,
        list(rows),
        last_types(rows),
        folds=config.folds,
        permutations=config.permutations,
        seed=config.seed,
    )
    features = read_features(analyzer.lm, rows, [EMBEDDING], ("last_varying", "mean"))
    return score_all(features, token_counts(rows), plan, target, labels.names, settings)


def _corrected(probes: Sequence[ProbeScore]) -> tuple[ProbeScore, ...]:
    """The probes with p-values corrected over all targets; the correction within a target is at most as strict."""
    q = benjamini_hochberg(np.array([each.p for each in probes]))
    lexical = benjamini_hochberg(np.array([1.0 if each.lexical_q is None else each.lexical_q for each in probes]))
    return tuple(
        each.model_copy(update={"q": float(q[place]), "lexical_q": float(lexical[place])})
        for place, each in enumerate(probes)
    )
