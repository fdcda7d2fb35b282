"""`ModelAnalyzer`, `AblationStudy`, `ModelHooks`: results, their provenance, and tokens in context."""

import asyncio
import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from lazarus_introspect import (
    AblationConfig,
    AblationStudy,
    AnalysisConfig,
    LayerStrategy,
    ModelAnalyzer,
    ModelHooks,
    attribute,
    hooked,
    logit_lens,
    patch_sweep,
    run_with_cache,
    run_with_hooks,
)
from lazarus_introspect.analysis import AnalysisResult, provenance_of, read_prompt, resolve_token
from lazarus_introspect.analysis.study import meets
from lazarus_introspect.errors import RequestError, SiteError
from lazarus_models import GenerationConfig, generate
from lazarus_models.backend import mx

GIRL, BOY = (f"Once upon a time, there was a little {who} named" for who in ("girl", "boy"))


@pytest.fixture(scope="module")
def analyzer(stories):
    return ModelAnalyzer(stories)


def test_the_lens_of_a_trained_model(analyzer):
    config = AnalysisConfig(track_tokens=(" Lily", " Tim"), top_k=3)
    result = analyzer.analyze(GIRL, config)
    assert result.predicted_token == " Lily"
    assert [each.layer_idx for each in result.layer_predictions] == list(range(6))
    lens = np.array(logit_lens(analyzer.lm, [list(result.ids)])[:, 0, -1]).astype(float)
    probabilities = np.exp(lens - lens.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    for layer in result.layer_predictions:
        row = probabilities[layer.layer_idx]
        assert [each.id for each in layer.top_tokens] == np.argsort(-row)[:3].tolist()
        assert abs(layer.top_probability - row.max()) < 1e-5
        assert abs(layer.entropy + (row * np.log(row)).sum() / math.log(512)) < 1e-5
        assert abs(layer.kl_to_final - (row * np.log(row / probabilities[-1])).sum()) < 1e-4
    lily, tim = result.token_evolutions
    assert (lily.token, lily.tracked.id, lily.tracked.piece) == (" Lily", 317, "▁Lily")
    assert lily.ranks[-1] == 1 and lily.emergence_layer is not None and tim.emergence_layer is None
    assert lily.emergence_layer >= lily.first_top1_layer


def test_results_are_frozen_json_with_their_origin(analyzer):
    result = analyzer.analyze(GIRL)
    with pytest.raises(ValidationError):
        result.position = 3
    again = AnalysisResult.model_validate_json(result.to_json())
    assert again == result
    said = json.loads(result.to_json())
    assert said["request"] == AnalysisConfig().model_dump(mode="json")
    assert said["provenance"]["versions"].keys() == {"lazarus-introspect", "lazarus-models", "lazarus-tokenkit", "mlx"}
    assert (said["prompt"], len(said["ids"]), said["tokens"][1]) == (GIRL, 14, " Once")
    assert analyzer.analyze(GIRL).to_json() == result.to_json()


def test_the_digest_is_that_of_the_weights(opened):
    plain, adapted, quantized = (provenance_of(opened(name)) for name in ("qwen3", "qwen3+lora", "llama+4bit"))
    assert len({plain.weights, adapted.weights, quantized.weights}) == 3
    assert plain.tokenizer == adapted.tokenizer
    assert provenance_of(opened("qwen3")) == plain


@pytest.mark.parametrize(
    "settings, layers",
    [
        ({"layer_strategy": "first_last"}, [0, 5]),
        ({"layer_strategy": LayerStrategy.EVENLY_SPACED, "layer_step": 2}, [0, 2, 4, 5]),
        ({"layer_strategy": "custom", "custom_layers": (3, 1, 3)}, [1, 3]),
    ],
)
def test_layers_by_strategy(settings, layers, analyzer):
    result = analyzer.analyze(GIRL, AnalysisConfig(track_tokens=(" Lily",), **settings))
    assert [each.layer_idx for each in result.layer_predictions] == layers
    assert len(result.token_evolutions[0].ranks) == 6  # always all


def test_tokens_are_resolved_as_a_continuation(stories, opened):
    assert resolve_token(stories, " Lily").piece == "▁Lily"
    assert resolve_token(stories, "L").piece == "L" and resolve_token(stories, " L").piece == "▁L"
    with pytest.raises(RequestError, match="2 tokens") as found:
        resolve_token(stories, "gi")
    assert found.value.code == "LI-E142"
    assert resolve_token(stories, "gi", multi_token="first").num_tokens == 2
    with pytest.raises(RequestError):
        resolve_token(stories, "")


def test_resampling_records_where_each_output_came_from(analyzer):
    study = AblationStudy(analyzer.lm)
    config = AblationConfig(
        method="resample", reference_prompts=(BOY, "Tom was"), component="mlp", max_new_tokens=4, seed=3
    )
    found = study.sweep(GIRL, [1, 3], config, is_joint=True).ablations[0]
    assert [each.component for each in found.resampled] == ["L1.mlp", "L3.mlp"]
    rows = [list(read_prompt(analyzer.lm, text, raw=True).ids) for text in (BOY, "Tom was")]
    rows[0] = rows[0][-len(rows[1]) :]
    length = len(read_prompt(analyzer.lm, GIRL, raw=True).ids)
    cache = run_with_cache(analyzer.lm, rows, ["blocks.1.mlp_out", "blocks.3.mlp_out"])[1]
    hooks = []
    for layer, source in zip((1, 3), found.resampled, strict=True):
        assert (len(source.prompts), set(source.prompts)) == (length + 4, {0, 1})
        places = zip(source.prompts, source.positions, strict=True)
        values = mx.stack([cache[f"blocks.{layer}.mlp_out"][row, place] for row, place in places])
        hooks.append((f"blocks.{layer}.mlp_out", lambda x, values=values: values[None, : x.shape[1]]))
    ids = [list(read_prompt(analyzer.lm, GIRL, raw=True).ids)]
    for _ in range(4):  # without a cache, from the recorded places
        ids[0].append(int(mx.argmax(run_with_hooks(analyzer.lm, ids, hooks)[0, -1])))
    assert found.text.strip() == analyzer.lm.tokenizer.decode(ids[0][length:]).strip()
    assert (
        study.sweep(GIRL, [1], config.model_copy(update={"method": "zero", "reference_prompts": ()}))
        .ablations[0]
        .resampled
        is None
    )


def test_coroutines_give_the_same_and_see_hooks(analyzer):
    async def both():
        async with ModelAnalyzer(analyzer.lm) as found:
            first = await found.analyze(GIRL)
        with hooked(analyzer.lm, [("blocks.4.mlp_out", mx.zeros_like)]):
            changed = await found.analyze(GIRL)
        return first, changed, await found.run(lambda: analyzer.attribute(GIRL))

    first, changed, shares = asyncio.run(both())
    assert first == analyzer.analyze(GIRL)
    assert changed.layer_predictions[-1] != first.layer_predictions[-1]
    assert abs(shares.total - shares.difference) < 1e-5


def test_a_model_compared_with_itself_agrees(analyzer, opened):
    same = analyzer.compare(ModelAnalyzer(analyzer.lm), GIRL)
    assert (same.agreement, same.output_js) == (1.0, 0.0)
    other = analyzer.compare(ModelAnalyzer(opened("llama")), GIRL, AnalysisConfig(track_tokens=(" Lily",)))
    assert [(each.first_layer, each.second_layer) for each in other.layers] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 3),
        (5, 4),
    ]
    assert 0 <= other.agreement < 1
    assert other.output_js is None or 0 < other.output_js <= math.log(2)
    assert other.second.weights != other.provenance.weights


def test_attribution_and_patches_are_those_of_the_functions(analyzer):
    shares = analyzer.attribute(GIRL, " Lily", " Tim")
    found = attribute(analyzer.lm, [list(shares.ids)], shares.positive.id, shares.negative.id)
    assert (shares.difference, shares.mlp) == (found.difference, tuple(found.mlp))
    assert len(shares.heads) == 40
    patched = analyzer.patch(GIRL, BOY, layers=[0, 2])
    assert (patched.positive.text, patched.negative.text) == (" Lily", " Timmy")
    sweep = patch_sweep(
        analyzer.lm,
        [list(patched.ids)],
        [list(patched.corrupt_ids)],
        patched.positive.id,
        patched.negative.id,
        layers=[0, 2],
    )
    assert np.array_equal(np.array(patched.difference), sweep.difference)
    assert np.array_equal(np.array(patched.normalised), sweep.normalised)
    with pytest.raises(RequestError) as different:
        analyzer.attribute(GIRL, " Lily", " Lily")
    assert different.value.code == "LI-E143"


def test_attention_describes_heads(analyzer, opened):
    result = analyzer.attention(GIRL, layers=[1, 3], heads=[0, 7], has_patterns=True)
    assert [(each.layer, each.head) for each in result.heads] == [(1, 0), (1, 7), (3, 0), (3, 7)]
    for each in result.heads:
        pattern = np.array(each.pattern)
        assert each.last_row == each.pattern[-1] and each.sink == 0
        assert abs(each.first - pattern[:, 0].mean()) < 1e-9
        logs = np.log(np.where(pattern > 0, pattern, 1))
        entropy = -(pattern * logs).sum(axis=1)[1:] / np.log(np.arange(2, len(pattern) + 1))
        assert abs(each.entropy - entropy.mean()) < 1e-6
        assert abs(each.previous - np.diagonal(pattern, -1).mean()) < 1e-9
    sinks = ModelAnalyzer(opened("gpt_oss")).attention(GIRL, layers=[0])
    assert all(0 < each.sink < 1 for each in sinks.heads)
    mixed = ModelAnalyzer(opened("jamba")).attention(GIRL)
    assert mixed.absent and {each.layer for each in mixed.heads}.isdisjoint(mixed.absent)
    with pytest.raises(SiteError, match="mamba"):
        ModelAnalyzer(opened("mamba")).attention(GIRL)
    with pytest.raises(RequestError) as missing:
        analyzer.attention(GIRL, heads=[8])
    assert missing.value.code == "LI-E140"


def test_an_ablation_study_writes_texts(stories):
    study, config = AblationStudy(stories), AblationConfig(max_new_tokens=8)
    plain = generate(stories, GIRL, GenerationConfig(max_new_tokens=8), raw=True).text
    assert study.ablate_and_generate(GIRL, [], config) == plain
    assert study.ablate_and_generate(GIRL, [0, 4], config) != plain
    swept = study.sweep(GIRL, [0, 2], config, criterion="Lily")
    assert (swept.original, swept.original_meets_criterion) == (plain, True)
    assert [each.layers for each in swept.ablations] == [(0,), (2,)]
    assert [each.text for each in swept.ablations] == [
        study.ablate_and_generate(GIRL, [layer], config) for layer in (0, 2)
    ]
    (joint,) = study.sweep(GIRL, [0, 4], config, is_joint=True).ablations
    assert joint.layers == (0, 4) and joint.meets_criterion is None and joint.kl > 0
    mean = AblationConfig(max_new_tokens=4, method="mean", reference_prompts=(BOY, "Tom and Lily"))
    assert study.ablate_and_generate(GIRL, [2], mean)
    noise = AblationConfig(max_new_tokens=4, method="noise", seed=1)
    assert study.ablate_and_generate(GIRL, [2], noise) == study.ablate_and_generate(GIRL, [2], noise)


def test_criteria():
    assert meets("a 2025 b", "2025") and not meets("a", "2025") and meets("a", None) is None
    assert meets('<tool_call>{"name": "f", "arguments": {}}</tool_call>', "function_call")
    assert not meets("function_call", "function_call")


def test_steering_changes_the_text(analyzer):
    result = analyzer.steer(GIRL, [BOY], [GIRL], layer=2, alpha=3.0, max_new_tokens=6)
    assert result.original != result.steered and result.kl > 0
    nothing = analyzer.steer(GIRL, [BOY], [GIRL], layer=2, alpha=0.0, max_new_tokens=6)
    assert nothing.original == nothing.steered and nothing.kl == 0
    later = analyzer.steer(GIRL, [BOY], [GIRL], layer=2, alpha=3.0, where="generated", max_new_tokens=6)
    assert later.kl == 0  # the prompt itself is not steered


def test_model_hooks_capture_layers(stories):
    hooks = ModelHooks(stories)
    with pytest.raises(RequestError) as early:
        _ = hooks.hidden_states
    assert early.value.code == "LI-E145"
    ids = [[1, 2, 3]]
    logits = hooks.configure(layers=[0, 4], capture_attention=True, names=["resid_final"]).forward(ids)
    plain, cache = run_with_cache(stories, ids)
    assert mx.array_equal(logits, plain)
    assert list(hooks.hidden_states) == [0, 4] and list(hooks.attention_weights) == [0, 4]
    assert mx.array_equal(hooks.hidden_states[4], cache["resid_final"])
    assert mx.array_equal(hooks.cache["resid_final"], cache["resid_final"])
    hooks.add("blocks.0.attn_out", mx.zeros_like)
    assert not mx.array_equal(hooks.forward(ids), plain)
    with pytest.raises(RequestError):
        hooks.configure(layers=[5])


def refused(function, code):
    with pytest.raises(RequestError) as found:
        function()
    assert found.value.code == code


def test_bad_requests_are_refused(analyzer, stories):
    study = AblationStudy(stories)
    refused(lambda: analyzer.analyze(GIRL, AnalysisConfig(layer_strategy="custom", custom_layers=(6,))), "LI-E140")
    refused(lambda: analyzer.analyze(GIRL, AnalysisConfig(position=99)), "LI-E124")
    refused(lambda: analyzer.analyze(GIRL, AnalysisConfig(track_tokens=("gi",))), "LI-E142")
    refused(lambda: analyzer.patch(GIRL, "Once"), "LI-E121")
    refused(lambda: study.sweep(GIRL, [5]), "LI-E140")
    refused(lambda: study.sweep(GIRL, [0], criterion=""), "LI-E144")
    refused(lambda: study.sweep(GIRL, [0], AblationConfig(method="mean")), "LI-E131")
    refused(lambda: study.sweep(GIRL, [0], AblationConfig(reference_prompts=(BOY,))), "LI-E131")
    for settings in ({"layer_strategy": "custom"}, {"custom_layers": (1,)}, {"threshold": 0}, {"top_k": 0}, {"x": 1}):
        with pytest.raises(ValidationError):
            AnalysisConfig(**settings)


def test_a_prompt_without_tokens_is_refused(opened):
    lm = opened("llama")
    if lm.tokenizer.adds_bos:
        assert read_prompt(lm, "", raw=True).ids
    else:
        refused(lambda: read_prompt(lm, "", raw=True), "LI-E141")
