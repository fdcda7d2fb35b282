"""Ablation, patching, path patching and steering: references, and the laws of 4.4, 4.5, 4.6 and 4.8."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import suite
from lazarus_core.errors import OutputTaken
from lazarus_introspect import ModelAnalyzer, attribute, hooked, run_with_cache, run_with_hooks, sites
from lazarus_introspect.causal import (
    Component,
    Receiver,
    Reference,
    SteeringDirection,
    ablation_hooks,
    attribution_patching,
    components,
    load_direction,
    measure_ablation,
    patch_sweep,
    path_patch,
    save_direction,
    steered,
    steering_hook,
    steering_vector,
)
from lazarus_introspect.causal.direction import direction_of
from lazarus_introspect.errors import HookError, RequestError, SiteError
from lazarus_introspect.metrics import logit_difference
from lazarus_models import GenerationConfig
from lazarus_models.backend import mx
from lazarus_models.generation import generate_tokens

EVERY = (*suite.FAMILIES, "llama+4bit", "gemma3_text+4bit", "qwen3+lora", "stories260k")
IDS = [[1, 5, 9, 200, 33, 7, 5, 9, 200, 60, 61, 62]]
OTHER = [[1, 5, 9, 200, 77, 7, 5, 9, 200, 60, 61, 62]]
"""The same with another token at position 4."""
METHODS = ("zero", "mean", "resample", "noise")


def close(one, other, share=1e-5):
    return mx.abs(one - other).max().item() <= share * (1 + mx.abs(other).max().item())


# references


def test_ablation_equals_its_reference(stories, causal):
    _, clean, _, expected = causal
    for layer in range(5):
        for kind, key in (("attention", "zero_attn_logits"), ("mlp", "zero_mlp_logits")):
            logits = run_with_hooks(stories, clean, ablation_hooks(stories, [Component(layer, kind)]))
            assert np.abs(np.array(logits[0, -1]) - expected[key][layer]).max() < 2e-5
        for head in range(8):
            logits = run_with_hooks(stories, clean, ablation_hooks(stories, [Component(layer, "head", head)]))
            assert np.abs(np.array(logits[0, -1]) - expected["zero_head_logits"][layer, head]).max() < 2e-5


@pytest.mark.parametrize(
    "kind, key",
    [
        ("resid_pre", "patch_resid_pre_ld"),
        ("attn_out", "patch_attn_out_ld"),
        ("mlp_out", "patch_mlp_out_ld"),
        ("attn.z", "patch_head_z_ld"),
    ],
)
def test_patches_equal_their_reference(kind, key, stories, causal):
    said, clean, corrupt, expected = causal
    sweep = patch_sweep(stories, clean, corrupt, said["pos_id"], said["neg_id"], kind=kind)
    assert np.abs(sweep.difference - expected[key]).max() < 2e-5
    assert np.abs(np.array([sweep.clean, sweep.corrupt]) - expected["ld_clean_corrupt"]).max() < 2e-5
    if kind == "resid_pre":
        assert np.abs(sweep.normalised - expected["patch_resid_pre_norm"]).max() < 2e-5


def test_attribution_patching_equals_its_reference(stories, causal):
    said, clean, corrupt, expected = causal
    found = attribution_patching(stories, clean, corrupt, said["pos_id"], said["neg_id"])
    assert np.abs(found[:5] - expected["attribution_patch_resid_pre"]).max() < 2e-5


# ablation


@pytest.mark.parametrize("name", EVERY)
def test_laws_of_ablation(name, opened):
    lm = opened(name)
    plain = lm.model(mx.array(IDS))
    assert mx.array_equal(run_with_hooks(lm, IDS, ablation_hooks(lm, [])), plain)  # P1
    for layer in range(2):
        group = [Component(layer)]
        same = Reference(IDS * 3)
        for method in ("mean", "resample"):  # P2
            logits = run_with_hooks(lm, IDS, ablation_hooks(lm, group, method=method, reference=same))
            assert close(logits, plain)
        prefix = f"blocks.{layer}."
        skipped = run_with_hooks(lm, IDS, ablation_hooks(lm, group))
        _, cache = run_with_cache(lm, IDS, [prefix + "resid_pre"])
        around = run_with_hooks(lm, IDS, [(prefix + "resid_post", lambda x, y=cache[prefix + "resid_pre"]: y)])
        assert mx.array_equal(skipped, around)  # P3


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt_oss", "llama+4bit", "qwen3+lora", "starcoder2"])
def test_all_heads_are_the_attention_without_its_bias(name, opened):
    lm = opened(name)
    block = lm.model.layers[0]
    heads = run_with_hooks(lm, IDS, ablation_hooks(lm, components(lm, "head", [0])))
    bias = block.self_attn.o_proj(
        mx.zeros((1, 1, lm.model.config.blocks[0].mixer.num_heads * block.self_attn.config.head_dim))
    )
    if block.output_norms[0] is not None:
        bias = block[block.output_norms[0]](bias)
    bias = bias * block.config.residual_scale
    only = run_with_hooks(lm, IDS, [("blocks.0.attn_out", lambda x: mx.broadcast_to(bias, x.shape))])
    assert close(heads, only)  # P6


@given(seed=st.integers(0, 50), method=st.sampled_from(METHODS))
def test_the_order_of_ablations_has_no_effect(seed, method, stories):
    rng = np.random.default_rng(seed)
    every = [
        *components(stories, "head"),
        *components(stories, "mlp"),
        Component(2, "neuron", 5),
        Component(2, "neuron", 9),
    ]
    group = [every[int(place)] for place in rng.choice(len(every), 6, replace=False)]
    settings = {"method": method, "reference": Reference(OTHER + IDS) if method in ("mean", "resample") else None}
    one = run_with_hooks(stories, IDS, ablation_hooks(stories, group, seed=seed, **settings))
    back = run_with_hooks(stories, IDS, ablation_hooks(stories, group[::-1], seed=seed, **settings))
    assert close(one, back)


def test_positions_and_single_neurons_are_all_that_changes(stories):
    where = [Component(1, "attention", positions=(3, 5)), Component(2, "neuron", 7, positions=(4,))]
    names = ["blocks.1.attn_out", "blocks.2.mlp.post", "blocks.2.mlp_in"]
    _, before = run_with_cache(stories, IDS, names)
    _, after = run_with_cache(stories, IDS, names, hooks=ablation_hooks(stories, where))
    changed = np.array((before[names[0]] != after[names[0]]).any(axis=-1))[0]
    assert np.flatnonzero(changed).tolist() == [3, 5]
    assert not np.array(after[names[0]])[0, [3, 5]].any()
    _, alone = run_with_cache(stories, IDS, names, hooks=ablation_hooks(stories, where[1:]))
    assert np.argwhere(np.array(before[names[1]] != alone[names[1]])[0]).tolist() == [[4, 7]]


@pytest.mark.parametrize(
    "name", ["llama", "gemma3_text", "jamba", "olmoe", "llama+4bit", "mamba", "gpt_oss", "qwen3+lora"]
)
def test_ablated_text_is_the_same_with_and_without_a_cache(name, opened):
    lm = opened(name)
    config = GenerationConfig(max_new_tokens=8)
    for settings in ({}, {"method": "mean", "reference": Reference(OTHER + IDS, is_pooled=True)}):
        with hooked(lm, ablation_hooks(lm, [Component(1)], **settings)):
            if name == "mamba":  # its cache does not count positions
                with pytest.raises(HookError) as found:
                    list(generate_tokens(lm.model, IDS[0], config))
                assert found.value.code == "LI-E114"
                list(generate_tokens(lm.model, IDS[0], config, use_cache=False))
                continue
            cached = list(generate_tokens(lm.model, IDS[0], config))
            plain = list(generate_tokens(lm.model, IDS[0], config, use_cache=False))
        assert cached == plain  # P7


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_positions_of_an_ablation_count_from_the_start_of_the_text(name, opened):
    lm, config = opened(name), GenerationConfig(max_new_tokens=8)
    prompt = len(IDS[0])
    texts = {}
    for positions in ((), (2, 3), (prompt, prompt + 1, prompt + 2)):
        group = [Component(layer, positions=positions) for layer in range(sites(lm).layers)]
        with hooked(lm, ablation_hooks(lm, group)):
            cached = list(generate_tokens(lm.model, IDS[0], config))
            assert cached == list(generate_tokens(lm.model, IDS[0], config, use_cache=False))
        texts[positions] = cached
    plain = list(generate_tokens(lm.model, IDS[0], config))
    assert texts[()] == plain
    mean = {"method": "mean", "reference": Reference([IDS[0] + IDS[0], OTHER[0] + OTHER[0]])}
    with hooked(lm, ablation_hooks(lm, [Component(1)], **mean)):  # of each position
        cached = list(generate_tokens(lm.model, IDS[0], config))
        assert cached == list(generate_tokens(lm.model, IDS[0], config, use_cache=False))
    later = texts[(prompt, prompt + 1, prompt + 2)]
    assert later[0] == plain[0] and later != plain  # the first new token is read from the prompt, which is whole


def test_effects_of_ablation_are_figures_of_the_next_token(stories):
    clean = stories.model(mx.array(IDS))[0, -1]
    nothing, skipped = measure_ablation(stories, IDS, [[], [Component(0)]], negative=7)
    assert nothing.kl == 0 and not nothing.top_changed and nothing.difference_change == 0
    changed = run_with_hooks(stories, IDS, ablation_hooks(stories, [Component(0)]))[0, -1]
    target = int(mx.argmax(clean))
    before, after = (np.array(each) - np.log(np.exp(np.array(each)).sum()) for each in (clean, changed))
    assert abs(skipped.logprob_change - (after - before)[target]) < 1e-5
    assert abs(skipped.kl - (np.exp(before) * (before - after)).sum()) < 1e-5
    assert skipped.top == int(mx.argmax(changed))


# patching


@pytest.mark.parametrize(
    "name", ["llama", "gemma3_text", "mixtral", "gpt_oss", "granite", "jamba", "mamba", "llama+4bit", "starcoder2"]
)
def test_laws_of_patching(name, opened):
    lm = opened(name)
    for direction in ("denoise", "noise"):
        own = patch_sweep(lm, IDS, IDS, 17, 300, direction=direction, layers=[1])
        assert np.abs(own.difference - own.clean).max() < 1e-5 * (1 + abs(own.clean))  # P1
        assert own.normalised is None
        sweep = patch_sweep(lm, IDS, OTHER, 17, 300, direction=direction)
        for ids, said in ((IDS, sweep.clean), (OTHER, sweep.corrupt)):
            assert abs(float(logit_difference(lm.model(mx.array(ids))[:, -1], 17, 300)[0]) - said) < 1e-5
        start, end = (sweep.corrupt, sweep.clean) if direction == "denoise" else (sweep.clean, sweep.corrupt)
        scale = 1 + abs(start) + abs(end)
        assert np.abs(sweep.difference[:, :4] - start).max() < 1e-5 * scale  # P3: nothing differs before position 4
        assert abs(sweep.difference[-1, -1] - end) < 1e-5 * scale  # P2: `resid_final` at the last position
        assert abs(sweep.difference[0, 4] - end) < 1e-5 * scale  # the only token that differs
        normalised = sweep.normalised[-1, -1]
        assert abs(normalised - (direction == "denoise")) < 1e-4
    looped = patch_sweep(lm, IDS, OTHER, 17, 300, direction="noise", layers=[1], batch=1)
    assert np.abs(looped.difference - sweep.difference[1]).max() < 1e-5 * scale  # P5


def test_all_positions_of_a_layer_give_the_other_run(opened):
    for name in ("llama", "gpt_oss", "granitemoehybrid"):
        lm = opened(name)
        source, cache = run_with_cache(lm, IDS, "blocks.*.resid_pre")
        for site in cache:
            assert close(run_with_hooks(lm, OTHER, [(site, lambda x, y=cache[site]: y)]), source)


@pytest.mark.parametrize(
    "kind", ["attn.z", "attn.q", "attn.k", "attn.v", "attn.rot_k", "attn.pattern", "mlp.post", "resid_mid"]
)
def test_a_batched_patch_is_the_patch_alone(kind, stories, causal):
    """Each element of a sweep equals a patch that a plain hook makes, also for chosen positions (P5, P7)."""
    said, good, bad, _ = causal
    pair, where = (said["pos_id"], said["neg_id"]), [10, 13]
    _, cache = run_with_cache(stories, good, f"blocks.*.{kind}")
    sweep = patch_sweep(stories, good, bad, *pair, kind=kind, positions=where)
    heads = {"attn.k": 4, "attn.v": 4, "attn.rot_k": 4}.get(kind, 8)
    assert sweep.columns == ((10, 13) if kind in ("mlp.post", "resid_mid") else tuple(range(heads)))
    for layer, column in ((0, 0), (3, 1)):
        source = np.array(cache[f"blocks.{layer}.{kind}"])

        def patch(x, source=source, column=column):
            x = np.array(x)
            if kind == "attn.pattern":
                x[:, column, where] = source[:, column, where]
            elif kind.startswith("attn"):
                x[:, where, column] = source[:, where, column]
            else:
                x[:, where[column]] = source[:, where[column]]
            return mx.array(x)

        logits = run_with_hooks(stories, bad, [(f"blocks.{layer}.{kind}", patch)])
        assert abs(float(logit_difference(logits[:, -1], *pair)[0]) - sweep.difference[layer, column]) < 1e-5


def test_attribution_patching_is_the_first_order_of_patching(stories, causal):
    """For a part of the way from corrupt to clean, the error falls with the square of the part."""
    said, good, bad, _ = causal
    pair, name = (said["pos_id"], said["neg_id"]), "blocks.2.resid_pre"
    _, clean = run_with_cache(stories, good, [name])
    _, corrupt = run_with_cache(stories, bad, [name])
    change = clean[name] - corrupt[name]
    estimate = attribution_patching(stories, good, bad, *pair, layers=[2]).sum()
    base = float(logit_difference(run_with_hooks(stories, bad)[:, -1], *pair)[0])
    errors = []
    for size in (0.2, 0.1, 0.05):
        logits = run_with_hooks(stories, bad, [(name, lambda x, size=size: x + size * change)])
        errors.append(abs(float(logit_difference(logits[:, -1], *pair)[0]) - base - size * estimate))
    assert errors[1] < errors[0] / 2.5 and errors[2] < errors[1] / 2.5
    for kind, columns in (("attn.z", 8), ("attn.v", 4), ("attn.pattern", 8), ("mlp.post", 14)):
        assert attribution_patching(stories, good, bad, *pair, kind=kind).shape == (5, columns)


# path patching


def test_frozen_paths_to_the_logits_are_differences_of_attributions(stories, causal):
    said, clean, corrupt, _ = causal
    a, b = said["pos_id"], said["neg_id"]
    args = (stories, clean, corrupt, a, b)
    logits = Receiver("logits")
    total = 0.0
    every = ["embed", *components(stories, "head", [0, 4]), *components(stories, "attention", [1, 2, 3])]
    every += components(stories, "mlp")
    _, states = run_with_cache(stories, corrupt, ["resid_final"])
    whole = path_patch(*args, senders=tuple(every), receiver=logits, is_frozen=True)
    for sender in every:
        total += path_patch(*args, senders=(sender,), receiver=logits, is_frozen=True).effect
    # the sum of all paths; each effect is a difference of logits in float32
    assert abs(total - whole.effect) < 5e-6 * len(every)
    free = path_patch(*args, senders=tuple(every), receiver=logits)
    assert abs(free.difference - free.clean) < 2e-5  # all paths together are the clean run
    # one MLP: the frozen effect is the difference of its attribution with the corrupt scale
    one = path_patch(*args, senders=(Component(3, "mlp"),), receiver=logits, is_frozen=True).effect
    _, runs = run_with_cache(stories, clean, ["blocks.3.mlp_out"])
    share = attribute(stories, corrupt, a, b).mlp[3]

    def added(x):
        return runs["blocks.3.mlp_out"]

    _, cache = run_with_cache(stories, corrupt, ["blocks.3.mlp_out"])
    ratio = mx.rsqrt(mx.square(states["resid_final"][0, -1]).mean() + 1e-5) * stories.model.model.norm.weight
    unembed = stories.model.model.embed_tokens.weight
    change = (added(None) - cache["blocks.3.mlp_out"])[0, -1]
    assert abs(one - float((change * ratio * (unembed[a] - unembed[b])).sum())) < 2e-5
    assert abs(share - float((cache["blocks.3.mlp_out"][0, -1] * ratio * (unembed[a] - unembed[b])).sum())) < 2e-5


@pytest.mark.parametrize("name", ["llama", "qwen3", "granite", "mixtral", "starcoder2", "llama+4bit"])
def test_all_paths_into_a_receiver_are_its_whole_input(name, opened):
    lm = opened(name)
    for receiver, stream in (
        (Receiver("mlp", 1), "blocks.1.resid_mid"),
        (Receiver("q", 1), "blocks.1.resid_pre"),
        (Receiver("k", 1), "blocks.1.resid_pre"),
        (Receiver("v", 1, 0), "blocks.1.resid_pre"),
    ):
        senders = ["embed", Component(0, "attention"), Component(0, "mlp")]
        if receiver.input == "mlp":
            senders.append(Component(1, "attention"))
        if name == "starcoder2":
            assert "pos_embed" not in sites(lm).present
        found = path_patch(lm, IDS, OTHER, 17, 300, senders=tuple(senders), receiver=receiver)
        site = "blocks.1.mlp_in" if receiver.input == "mlp" else f"blocks.1.attn.{receiver.input}"
        _, clean = run_with_cache(lm, IDS, [site, stream])

        def whole(x, clean=clean, site=site, receiver=receiver):
            if receiver.head is None:
                return clean[site]
            own = (mx.arange(x.shape[2]) == receiver.head)[:, None]
            return mx.where(own, clean[site], x)

        expected = run_with_hooks(lm, OTHER, [(site, whole)])
        assert abs(found.difference - float(logit_difference(expected[:, -1], 17, 300)[0])) < 2e-5 * (
            1 + abs(found.clean)
        )


# steering


@given(seed=st.integers(0, 30), alpha=st.floats(-4, 4), beta=st.floats(-4, 4))
def test_laws_of_steering(seed, alpha, beta, stories):
    u, v = (mx.random.normal((64,), key=key) for key in mx.random.split(mx.random.key(seed)))
    site = "blocks.2.resid_pre"
    plain, _ = run_with_cache(stories, IDS, [])
    nothing = run_with_hooks(stories, IDS, [(site, steering_hook(u, alpha=0.0))])
    assert mx.array_equal(nothing, plain)  # P1
    pair = [(site, steering_hook(u, alpha=alpha)), (site, steering_hook(v, alpha=beta))]
    assert close(run_with_hooks(stories, IDS, pair), run_with_hooks(stories, IDS, pair[::-1]), 1e-4)  # P4
    remove = (site, steering_hook(u, mode="remove"))
    _, once = run_with_cache(stories, IDS, [site], hooks=[remove])
    _, twice = run_with_cache(stories, IDS, [site], hooks=[remove, remove])
    assert close(once[site], twice[site])  # P3
    unit = u / mx.linalg.norm(u)
    assert mx.abs(once[site] @ unit).max().item() < 1e-4
    _, before = run_with_cache(stories, IDS, [site])
    _, after = run_with_cache(stories, IDS, [site], hooks=[(site, steering_hook(u, alpha=alpha, mode="keep_norm"))])
    norms = [mx.linalg.norm(each[site], axis=-1) for each in (before, after)]
    assert mx.allclose(*norms, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["llama", "gemma3_text", "gpt_oss", "mixtral", "granite", "jamba", "llama+4bit", "qwen3+lora"]
)
def test_steered_text_is_the_same_with_and_without_a_cache(name, opened):
    lm = opened(name)
    vector = mx.random.normal((lm.model.config.width,), key=mx.random.key(1))
    texts = set()
    for start, end in ((0, None), (3, 6), (len(IDS[0]), None)):
        with steered(lm, vector, "blocks.1.resid_pre", alpha=9.0, start=start, end=end):
            cached = list(generate_tokens(lm.model, IDS[0], GenerationConfig(max_new_tokens=8)))
            plain = list(generate_tokens(lm.model, IDS[0], GenerationConfig(max_new_tokens=8), use_cache=False))
        assert cached == plain  # P2
        texts.add(tuple(cached))
    assert len(texts) > 1


def test_a_steering_vector_is_a_difference_of_means(stories):
    site = "blocks.2.resid_post"
    positive, negative = [[1, 5, 9], [1, 5, 9, 4]], [[1, 7]]
    found = steering_vector(stories, positive, negative, site)
    states = [run_with_cache(stories, [ids], site)[1][site][0] for ids in (*positive, *negative)]
    assert close(found, (states[0][-1] + states[1][-1]) / 2 - states[2][-1])
    spread = steering_vector(stories, positive, negative, site, position=None)
    assert close(spread, (states[0].mean(axis=0) + states[1].mean(axis=0)) / 2 - states[2].mean(axis=0))


# refusals


def refused(function, code):
    with pytest.raises((RequestError, SiteError)) as found:
        function()
    assert found.value.code == code


def test_bad_requests_are_refused(stories, opened):
    lm, mean = stories, Reference(IDS)
    refused(lambda: ablation_hooks(lm, [Component(0)], method="median"), "LI-E130")
    refused(lambda: ablation_hooks(lm, [Component(0)], method="mean"), "LI-E131")
    refused(lambda: ablation_hooks(lm, [Component(0)], reference=mean), "LI-E131")
    refused(lambda: ablation_hooks(lm, [Component(0)], method="noise", scale=0), "LI-E130")
    refused(lambda: ablation_hooks(lm, [Component(0, "expert")]), "LI-E130")
    refused(lambda: ablation_hooks(lm, [Component(0, "head")]), "LI-E130")
    refused(lambda: ablation_hooks(lm, [Component(0, "head", 8)]), "LI-E132")
    refused(lambda: ablation_hooks(lm, [Component(9)]), "LI-E101")
    refused(lambda: ablation_hooks(opened("mamba"), [Component(0, "attention")]), "LI-E101")
    long = ablation_hooks(lm, [Component(0)], method="mean", reference=Reference([[1, 2]]))
    refused(lambda: run_with_hooks(lm, IDS, long), "LI-E121")
    refused(lambda: patch_sweep(lm, IDS, [[1, 2]], 1, 2), "LI-E121")
    refused(lambda: patch_sweep(lm, IDS * 2, IDS * 2, 1, 2), "LI-E123")
    refused(lambda: patch_sweep(lm, IDS, IDS, 1, 2, kind="resid"), "LI-E130")
    refused(lambda: patch_sweep(lm, IDS, IDS, 1, 2, direction="both"), "LI-E130")
    refused(lambda: patch_sweep(lm, IDS, IDS, 1, 2, positions=[12]), "LI-E124")
    refused(lambda: patch_sweep(opened("mamba"), IDS, IDS, 1, 2, kind="attn.z"), "LI-E101")
    path = {"positive": 1, "negative": 2, "model": lm, "clean": IDS, "corrupt": OTHER}
    sender = (Component(1, "mlp"),)
    refused(lambda: path_patch(**path, senders=sender, receiver=Receiver("mlp", 1)), "LI-E134")
    refused(lambda: path_patch(**path, senders=sender, receiver=Receiver("q")), "LI-E134")
    refused(lambda: path_patch(**path, senders=(), receiver=Receiver("logits")), "LI-E134")
    refused(lambda: path_patch(**path, senders=(Component(0),), receiver=Receiver("q", 2)), "LI-E134")
    refused(lambda: path_patch(**path, senders=sender, receiver=Receiver("k", 2, 4)), "LI-E132")
    refused(lambda: path_patch(**path, senders=(Component(0, "head", 9),), receiver=Receiver("k", 2)), "LI-E132")
    one = mx.ones((64,))
    refused(lambda: steering_hook(one[None]), "LI-E133")
    refused(lambda: steering_hook(one * 0, mode="remove"), "LI-E133")
    refused(lambda: steering_hook(one, mode="subtract"), "LI-E130")
    refused(lambda: steering_hook(one, start=-1), "LI-E124")
    refused(lambda: steering_vector(lm, [], [[1]], "resid_final"), "LI-E133")
    refused(lambda: steering_vector(lm, [[1]], [[1]], "blocks.0.attn.z"), "LI-E133")
    refused(lambda: run_with_hooks(lm, IDS, [("resid_final", steering_hook(one[:3]))]), "LI-E133")


def test_directions_are_files_that_only_this_model_takes(stories, tmp_path):
    weights = ModelAnalyzer(stories).provenance.weights
    found = SteeringDirection("blocks.3.resid_pre", np.arange(64, dtype=np.float32) / 7, "lda", "sad", "happy", weights)
    path = tmp_path / "new" / "happy.json"
    save_direction(found, path)
    again = load_direction(path)
    assert again.members == found.members and (again.vector == found.vector).all()
    save_direction(found, path)  # an earlier direction is replaced
    vector = steering_vector(stories, [IDS[0]], [OTHER[0]], "blocks.2.resid_post")
    same = SteeringDirection("blocks.2.resid_post", np.array(vector), "mean_difference", "b", "a", weights)
    analyzer = ModelAnalyzer(stories)
    by_direction = analyzer.steer("Once", direction=same, alpha=3.0, max_new_tokens=4)
    assert (by_direction.site, by_direction.request["direction"]) == ("blocks.2.resid_post", same.members)
    other = dataclasses.replace(found, weights="0" * 64)
    refused(lambda: analyzer.steer("Once", direction=other), "LI-E085")
    refused(lambda: analyzer.steer("Once", ["a"], ["b"], layer=1, direction=found), "LI-E133")
    refused(lambda: analyzer.steer("Once", ["a"], ["b"]), "LI-E133")
    said = json.loads(path.read_text("utf-8"))
    for change in ({"format": "x"}, {"version": 2}, {"vector": []}, {"vector": [0.0]}, {"vector": [True]}, {"site": 1}):
        path.write_text(json.dumps(said | change), "utf-8")
        refused(lambda: load_direction(path), "LI-E084")
    path.write_text("mine", "utf-8")
    with pytest.raises(OutputTaken):
        save_direction(found, path)
    assert path.read_text("utf-8") == "mine"


@given(values=st.lists(st.floats(-1e10, 1e10, width=32), min_size=1, max_size=40).filter(any))
def test_a_direction_keeps_its_bits(values):
    found = SteeringDirection("resid_final", np.array(values, np.float32), "lda", "a", "b", "w")
    assert direction_of(json.loads(json.dumps(found.members))).vector.tobytes() == found.vector.tobytes()
