"""Analyses of experts with their provenance: one function a command."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.tokens import read_prompt, token_text
from lazarus_introspect.causal.ablation import Component, measure_ablation
from lazarus_introspect.causal.expert_ablation import ExpertMode
from lazarus_introspect.errors import RequestError
from lazarus_introspect.experts import results
from lazarus_introspect.experts.alike import expert_similarity
from lazarus_introspect.experts.balance import expert_utilization, repetition, router_entropy
from lazarus_introspect.experts.contribution import expert_vocabulary
from lazarus_introspect.experts.identify import ExpertIdentifier, IdentifyConfig
from lazarus_introspect.experts.joint_use import coactivation, transition
from lazarus_introspect.experts.labelled_texts import LabelledText, labelled_texts
from lazarus_introspect.experts.routing import moe_config, moe_layers, route_texts
from lazarus_introspect.hooks import run_with_hooks
from lazarus_models.backend import mx

Texts = Mapping[str, Sequence[str]] | None
"""Texts by label; None for the built-in ones."""


def route(
    analyzer: ModelAnalyzer, prompt: str, *, layers: Sequence[int] | None = None, raw: bool = True
) -> results.RouteResult:
    """The experts of each token of a prompt.

    Args:
        analyzer: The model.
        prompt: A text to continue, or a user's message if `raw` is false.
        layers: Blocks with experts; None for all.
        raw: Whether the prompt is a text to continue.

    Raises:
        SiteError: A block has no experts.
    """
    read = read_prompt(analyzer.lm, prompt, raw=raw)
    routed = route_texts(analyzer.lm, [read.ids], layers)
    return results.RouteResult(
        **analyzer.about("moe route", read, {"layers": layers, "raw": raw}),
        layers=tuple(
            results.LayerRoute(
                layer=layer,
                num_experts=own.num_experts,
                experts=tuple(map(tuple, own.experts.tolist())),
                weights=tuple(map(tuple, own.weights.tolist())),
                probabilities=tuple(map(tuple, own.probabilities.tolist())),
                entropy=router_entropy(own),
            )
            for layer, own in routed.layers.items()
        ),
    )


def choose_texts(analyzer: ModelAnalyzer, texts: Texts, count: int | None = None) -> list[LabelledText]:
    """Texts as token ids; the first ones of each label if there are more than `count`.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        count: Most texts; None for all.

    Raises:
        RequestError: `count` is below 1.
    """
    every = labelled_texts(analyzer.lm, analyzer.lm.tokenizer, texts)
    if count is None:
        return every
    if count < 1:
        raise RequestError(f"`count` {count} is below 1", "LI-E160")
    seen: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    for index, each in enumerate(every):
        seen[each.label] = seen.get(each.label, 0) + 1
        places.append((seen[each.label], index))
    return [every[index] for index in sorted(index for _, index in sorted(places)[:count])]


def _about(
    analyzer: ModelAnalyzer, analysis: str, texts: Sequence[LabelledText], request: dict[str, Any]
) -> dict[str, Any]:
    shown = tuple(results.TextIds(label=each.label, text=each.text, ids=each.ids) for each in texts)
    return {"analysis": analysis, "provenance": analyzer.provenance, "request": request, "texts": shown}


def utilisation(
    analyzer: ModelAnalyzer, texts: Texts = None, *, layers: Sequence[int] | None = None, seed: int = 0
) -> results.UtilizationResult:
    """How evenly texts use the experts of each block.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        layers: Blocks with experts; None for all.
        seed: Random seed of the shuffles of repetition.
    """
    chosen = choose_texts(analyzer, texts)
    routed = route_texts(analyzer.lm, [each.ids for each in chosen], layers)
    return results.UtilizationResult(
        **_about(analyzer, "moe utilisation", chosen, {"layers": layers, "seed": seed}),
        layers=tuple(
            results.LayerUtilization(
                utilization=expert_utilization(own),
                entropy=router_entropy(own),
                repetition=repetition(own, seed=seed, permutations=199),
            )
            for own in routed.layers.values()
        ),
    )


def coactivated(
    analyzer: ModelAnalyzer, texts: Texts = None, *, layers: Sequence[int] | None = None
) -> results.CoactivationResult:
    """Experts that are used by the same tokens.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        layers: Blocks with experts; None for all.
    """
    chosen = choose_texts(analyzer, texts)
    routed = route_texts(analyzer.lm, [each.ids for each in chosen], layers)
    return results.CoactivationResult(
        **_about(analyzer, "moe co-activation", chosen, {"layers": layers}),
        layers=tuple(coactivation(own) for own in routed.layers.values()),
    )


def specialists(
    analyzer: ModelAnalyzer,
    texts: Texts = None,
    *,
    layers: Sequence[int] | None = None,
    config: IdentifyConfig | None = None,
) -> results.SpecialistsResult:
    """Specialists of labels and preferred tokens.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        layers: Blocks with experts; None for all.
        config: Settings; None for the defaults.

    Raises:
        RequestError: Fewer than two labels, or fewer than five texts of a label.
    """
    chosen = moe_layers(analyzer.lm, layers)
    identifier = ExpertIdentifier(analyzer.lm, texts=texts, config=config)
    request = {"layers": layers, "config": identifier.config.model_dump(mode="json")}
    return results.SpecialistsResult(
        **_about(analyzer, "moe specialists", identifier.texts, request),
        layers=tuple(identifier.identify(layer) for layer in chosen),
    )


def pipeline(
    analyzer: ModelAnalyzer,
    texts: Texts = None,
    *,
    layers: Sequence[int] | None = None,
    count: int | None = None,
    seed: int = 0,
) -> results.PipelineResult:
    """How the experts of one block follow those of the block before.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        layers: Blocks with experts; None for all.
        count: Most texts; None for all.
        seed: Random seed of the shuffles.

    Raises:
        RequestError: Fewer than two blocks.
    """
    chosen = choose_texts(analyzer, texts, count)
    routed = route_texts(analyzer.lm, [each.ids for each in chosen], layers).layers
    order = sorted(routed)
    if len(order) < 2:
        raise RequestError("a transition needs two blocks with experts; there is one", "LI-E165")
    return results.PipelineResult(
        **_about(analyzer, "moe pipeline", chosen, {"layers": layers, "count": count, "seed": seed}),
        transitions=tuple(
            transition(routed[one], routed[two], seed=seed, permutations=199) for one, two in itertools.pairwise(order)
        ),
    )


def vocabulary(
    analyzer: ModelAnalyzer, texts: Texts = None, *, layers: Sequence[int] | None = None, top_k: int = 10
) -> results.VocabularyResult:
    """Tokens that each expert makes more probable.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        layers: Blocks with experts; None for all.
        top_k: Tokens of each expert.
    """
    chosen, own = choose_texts(analyzer, texts), moe_layers(analyzer.lm, layers)
    ids = [each.ids for each in chosen]
    return results.VocabularyResult(
        **_about(analyzer, "moe vocab-contrib", chosen, {"layers": layers, "top_k": top_k}),
        layers=tuple(expert_vocabulary(analyzer.lm, analyzer.lm.tokenizer, ids, layer, top_k=top_k) for layer in own),
    )


def similarity(
    analyzer: ModelAnalyzer,
    texts: Texts = None,
    *,
    layers: Sequence[int] | None = None,
    threshold: float = 0.8,
    seed: int = 0,
) -> results.SimilarityResult:
    """Experts that compute nearly the same.

    Args:
        analyzer: The model.
        texts: Texts by label; None for the built-in ones.
        layers: Blocks with experts; None for all.
        threshold: Least mean cosine of the outputs of similar experts, in (0, 1].
        seed: Random seed of the sample of tokens.
    """
    chosen, own = choose_texts(analyzer, texts), moe_layers(analyzer.lm, layers)
    ids = [each.ids for each in chosen]
    return results.SimilarityResult(
        **_about(analyzer, "moe compression", chosen, {"layers": layers, "threshold": threshold, "seed": seed}),
        layers=tuple(expert_similarity(analyzer.lm, ids, layer, threshold=threshold, seed=seed) for layer in own),
    )


def ablate_experts(
    analyzer: ModelAnalyzer,
    prompt: str,
    *,
    layers: Sequence[int] | None = None,
    experts: Sequence[int] | None = None,
    mode: ExpertMode = "drop",
    raw: bool = True,
) -> results.ExpertAblationResult:
    """The effect of each expert on the next token of a prompt.

    Args:
        analyzer: The model.
        prompt: A text to continue, or a user's message if `raw` is false.
        layers: Blocks with experts; None for all.
        experts: Experts of each block; None for all.
        mode: What happens to the tokens that chose them; see `lazarus_introspect.causal.expert_ablation`.
        raw: Whether the prompt is a text to continue.

    Raises:
        SiteError: A block has no experts.
        RequestError: An expert does not exist.
    """
    lm = analyzer.lm
    read = read_prompt(lm, prompt, raw=raw)
    routed = route_texts(lm, [read.ids], layers).layers
    groups = [
        [Component(layer, "expert", expert)]
        for layer in routed
        for expert in (range(moe_config(lm, layer).num_experts) if experts is None else experts)
    ]
    effects = measure_ablation(lm, read.rows, groups, expert_mode=mode)
    rows: list[results.ExpertEffect] = []
    for (component,), effect in zip(groups, effects, strict=True):
        assert component.index is not None
        rows.append(
            results.ExpertEffect(
                layer=component.layer,
                expert=component.index,
                used=int((routed[component.layer].experts == component.index).any(axis=1).sum()),
                kl=effect.kl,
                top_token=token_text(lm, effect.top),
                top_changed=effect.top_changed,
                logprob_change=effect.logprob_change,
            )
        )
    predicted = int(mx.argmax(run_with_hooks(lm, read.rows)[0, -1]))
    request = {"layers": layers, "experts": experts, "mode": mode, "raw": raw}
    return results.ExpertAblationResult(
        **analyzer.about("moe ablate", read, request),
        mode=mode,
        predicted=token_text(lm, predicted),
        experts=tuple(rows),
    )
