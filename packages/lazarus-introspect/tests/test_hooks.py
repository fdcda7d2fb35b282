"""Hooks and captured activations, against references of transformers and against the model itself."""

import numpy as np
import pytest

import suite
from lazarus_introspect import capturing, hooked, run_with_cache, run_with_hooks, sites
from lazarus_introspect.errors import HookError, RequestError, SiteError
from lazarus_models import GenerationConfig, segment_caches
from lazarus_models.backend import mx
from lazarus_models.generation import generate_tokens
from lazarus_models.trees import weights

REFERENCED = (
    *("gemma3_text", "gpt_oss", "granite", "granitemoe", "llama", "llama3-rope", "mistral", "mixtral", "olmoe"),
    *("qwen3", "starcoder2"),
)
"""Families with a float64 reference of their inside, computed by transformers."""
EVERY = (*suite.FAMILIES, "llama+4bit", "gemma3_text+4bit", "olmoe+4bit", "qwen3+lora", "stories260k")
IDS = [[1, 5, 9, 200, 33, 7, 5, 9, 200, 60, 61, 62]]


def off(found, expected):
    """Largest difference as a share of the range of the reference."""
    return np.abs(np.array(found.astype(mx.float32)) - expected).max() / max(1e-9, np.ptp(expected))


@pytest.mark.parametrize("name", REFERENCED)
def test_activations_equal_those_of_transformers(name, opened, inside):
    lm, expected = opened(name), inside(name)
    logits, cache = run_with_cache(lm, expected["0.input_ids"][None])
    assert off(logits[0], expected["logits"]) < 5e-5
    assert off(cache["resid_final"][0], expected["resid_final"]) < 5e-5
    for layer in range(sites(lm).layers):
        assert off(cache[f"blocks.{layer}.resid_pre"][0], expected[f"resid_pre.{layer}"]) < 5e-5
        assert np.abs(np.array(cache[f"blocks.{layer}.attn.pattern"][0]) - expected[f"pattern.{layer}"]).max() < 5e-5
        if f"experts.{layer}" in expected:
            chosen = np.sort(np.array(cache[f"blocks.{layer}.moe.experts"][0]), axis=-1)
            assert np.array_equal(chosen, expected[f"experts.{layer}"])


@pytest.mark.parametrize("name", REFERENCED)
def test_logits_without_a_part_equal_those_of_transformers(name, opened, inside):
    lm, expected = opened(name), inside(name)
    ids = expected["0.input_ids"][None]
    for layer in range(sites(lm).layers):
        for key, site in (("no_attn", "attn_out"), ("no_mlp", "mlp_out")):
            logits = run_with_hooks(lm, ids, [(f"blocks.{layer}.{site}", mx.zeros_like)])
            assert off(logits[0], expected[f"{key}.{layer}"]) < 5e-5
    for head in (0, 1):

        def without(z, head=head):
            z[:, :, head] = 0
            return z

        assert off(run_with_hooks(lm, ids, [("blocks.0.attn.z", without)])[0], expected[f"no_head.0.{head}"]) < 5e-5


def test_a_trained_model_equals_its_reference(stories, told):
    for ids, expected in told:
        logits, cache = run_with_cache(stories, ids)
        tokens = ids.shape[1]
        assert np.abs(np.array(logits[0]) - expected["logits"]).max() < 2e-5
        assert np.abs(np.array(cache["resid_final"][0]) - expected["resid_final"]).max() < 2e-5
        for kind in ("resid_pre", "resid_mid", "attn_out", "mlp_out"):
            assert np.abs(np.array(cache.stack(kind)[:, 0]) - expected[kind]).max() < 2e-5
        # the file's numbers are in the order (L, T, T, H), whatever its header says: they were stored without a copy
        pattern = expected["attn"].reshape(5, tokens, tokens, 8).transpose(0, 3, 1, 2)
        assert np.abs(np.array(cache.stack("attn.pattern")[:, 0]) - pattern).max() < 2e-5
        assert np.abs(np.array(cache.stack("attn.z")[:, 0]).reshape(5, tokens, -1) - expected["z"]).max() < 2e-5


@pytest.mark.parametrize("name", EVERY)
def test_hooked_logits_have_the_bits_of_plain_ones_and_the_model_stays(name, opened):
    lm = opened(name)
    before = {key: np.array(value) for key, value in weights(lm.model).items() if value.dtype != mx.bfloat16}
    plain = lm.model(mx.array(IDS))
    logits, cache = run_with_cache(lm, IDS)
    assert mx.array_equal(logits, plain)
    assert set(cache) == set(sites(lm).present)
    same = run_with_hooks(lm, IDS, [(site, lambda x: None) for site in sites(lm).present])
    assert mx.array_equal(same, plain)
    with pytest.raises(ZeroDivisionError):
        run_with_hooks(lm, IDS, [("resid_final", lambda x: 1 / 0)])
    after = weights(lm.model)
    assert all(np.array_equal(value, np.array(after[key])) for key, value in before.items())
    assert mx.array_equal(lm.model(mx.array(IDS)), plain)


@pytest.mark.parametrize("name", EVERY)
def test_the_stream_is_the_sum_of_what_is_added(name, opened):
    lm = opened(name)
    _, cache = run_with_cache(lm, IDS)
    x = cache["blocks.0.resid_pre"]
    for layer in range(sites(lm).layers):
        prefix = f"blocks.{layer}."
        assert mx.allclose(x, cache[prefix + "resid_pre"], rtol=0, atol=1e-5 * (1 + mx.abs(x).max().item()))
        x = x + cache[prefix + "mixer_out"]
        x = x + cache[prefix + "mlp_out"] if prefix + "mlp_out" in cache else x
    assert mx.allclose(x, cache["resid_final"], rtol=0, atol=2e-5 * (1 + mx.abs(x).max().item()))


@pytest.mark.parametrize("name", EVERY)
def test_pattern_times_values_is_z_and_rows_sum_to_one(name, opened):
    lm = opened(name)
    _, cache = run_with_cache(lm, IDS)
    attends = [layer for layer in range(sites(lm).layers) if f"blocks.{layer}.attn.z" in cache]
    for layer in attends:
        pattern, z = cache["pattern", layer], cache["z", layer]
        values = mx.repeat(cache["v", layer], z.shape[2] // cache["v", layer].shape[2], axis=2)
        found = mx.swapaxes(pattern @ mx.swapaxes(values, 1, 2), 1, 2)
        assert mx.abs(found - z).max().item() < 1e-5 * (1 + mx.abs(z).max().item())
        sums = pattern.sum(axis=-1)
        mixer = lm.model.config.blocks[layer].mixer
        assert mx.all(sums < 1 + 1e-5) if mixer.sinks else mx.allclose(sums, mx.ones_like(sums), atol=1e-5)
        distance = np.arange(pattern.shape[2])[:, None] - np.arange(pattern.shape[3])
        unseen = (distance < 0) | (distance >= (mixer.window or 99))
        assert not np.array(pattern)[..., unseen].any()


@pytest.mark.parametrize("name", EVERY)
def test_cached_passes_see_what_one_pass_sees(name, opened):
    lm = opened(name)
    _, whole = run_with_cache(lm, IDS)
    kv_cache, start = lm.model.make_cache(), 0
    for size in (7, 1, 1, 3):
        _, some = run_with_cache(lm, [IDS[0][start : start + size]], kv_cache=kv_cache)
        for site in some:
            if site.endswith((".scores", ".pattern")):
                # a window's cache drops keys that no query sees, so columns are compared from the last one
                if ".scores" in site or some[site].shape[-1] != start + size:
                    continue
                ours, theirs = some[site], whole[site][:, :, start : start + size, : start + size]
            else:
                ours, theirs = some[site], whole[site][:, start : start + size]
            if site.endswith((".experts", ".weights", ".expert_out")):
                continue  # in no order
            assert mx.allclose(ours, theirs, rtol=0, atol=3e-5 * (1 + mx.abs(theirs).max().item())), site
        start += size


def test_hooks_act_in_generation_with_and_without_a_cache(opened):
    for name in suite.chosen(EVERY):
        lm = opened(name)
        config = GenerationConfig(max_new_tokens=8)
        # halves what block 1 adds, at every position: a cache must not change the text
        site = "blocks.1.mixer_out"
        with hooked(lm, [(site, lambda x: x * 0.5)]):
            cached = list(generate_tokens(lm.model, IDS[0], config))
            plain = list(generate_tokens(lm.model, IDS[0], config, use_cache=False))
        assert cached == plain
        with capturing(lm, ["resid_final"]) as steps:
            new = list(generate_tokens(lm.model, IDS[0], config))
        assert sum(step["resid_final"].shape[1] for step in steps) == len(IDS[0]) + len(new) - 1


def test_a_changed_pattern_is_used(stories):
    def uniform(pattern):
        seen = mx.tri(pattern.shape[-1])
        return mx.broadcast_to(seen / seen.sum(axis=-1, keepdims=True), pattern.shape)

    _, cache = run_with_cache(stories, IDS, hooks=[("blocks.2.attn.pattern", uniform)])
    values = mx.repeat(cache["v", 2], 2, axis=2)
    means = mx.cumsum(values, axis=1) / mx.arange(1, len(IDS[0]) + 1)[:, None, None]
    assert mx.allclose(cache["z", 2], means, atol=1e-5)
    _, scored = run_with_cache(stories, IDS, hooks=[("blocks.2.attn.scores", lambda s: mx.where(s == -mx.inf, s, 0.0))])
    assert mx.allclose(scored["z", 2], means, atol=1e-5)


def test_changed_router_logits_choose_other_experts(opened):
    lm = opened("mixtral")
    _, cache = run_with_cache(
        lm,
        IDS,
        "blocks.0.moe.*",
        hooks=[("blocks.0.moe.router_logits", lambda x: mx.zeros_like(x) - mx.arange(x.shape[-1]))],
    )
    assert np.array_equal(np.sort(np.array(cache["experts", 0]), axis=-1), np.full((1, len(IDS[0]), 2), [0, 1]))
    plain, before = run_with_cache(lm, IDS, ["blocks.0.moe.experts", "blocks.0.moe.expert_out"])
    again, _ = run_with_cache(lm, IDS, [], hooks=[("blocks.0.moe.experts", lambda x: before["experts", 0])])
    assert mx.array_equal(plain, again)


def test_packed_rows_have_patterns_within_segments(stories):
    segments = np.array([[1] * 5 + [2] * 7])
    _, cache = run_with_cache(
        stories, IDS, "blocks.0.attn.*", kv_cache=segment_caches(stories.model, mx.array(segments))
    )
    pattern, z = np.array(cache["pattern", 0]), cache["z", 0]
    assert not pattern[..., 5:, :5].any()
    values = mx.repeat(cache["v", 0], 2, axis=2)
    assert mx.allclose(mx.swapaxes(cache["pattern", 0] @ mx.swapaxes(values, 1, 2), 1, 2), z, atol=1e-5)


def test_names_of_transformer_lens_are_aliases(stories):
    names = ["blocks.3.hook_resid_pre", "blocks.3.attn.hook_pattern", "blocks.3.attn.hook_z", "blocks.3.mlp.hook_post"]
    _, cache = run_with_cache(stories, IDS, names)
    assert list(cache) == ["blocks.3.resid_pre", "blocks.3.attn.pattern", "blocks.3.attn.z", "blocks.3.mlp.post"]
    assert mx.array_equal(cache["blocks.3.hook_resid_pre"], cache["resid_pre", 3])
    assert "blocks.3.attn.hook_z" in cache


@pytest.mark.parametrize(
    "family, name, code, words",
    [
        ("mamba", "blocks.0.attn.pattern", "LI-E101", "has no attention: its mixer is mamba"),
        ("mamba", "blocks.0.attn_out", "LI-E101", "mixer_out"),
        ("mamba", "blocks.1.mlp_out", "LI-E101", "has no feed-forward part"),
        ("starcoder2", "blocks.0.mlp.pre_linear", "LI-E101", "without a gate"),
        ("mixtral", "blocks.0.mlp.hook_post", "LI-E101", "has experts"),
        ("llama", "blocks.0.moe.experts", "LI-E101", "has no experts"),
        ("llama", "blocks.99.resid_pre", "LI-E101", "blocks, numbered from 0"),
        ("llama", "blocks.0.attn.hook_result", "LI-E101", "attribute"),
        ("llama", "blocks.0.resid_per", "LI-E100", "blocks.0.resid_pre"),
    ],
)
def test_a_missing_site_is_said(family, name, code, words, opened):
    with pytest.raises(SiteError, match=words) as found:
        run_with_cache(opened(family), IDS, [name])
    assert found.value.code == code
    with pytest.raises(SiteError):
        run_with_hooks(opened(family), IDS, [(name, lambda x: x)])


def test_absent_sites_have_reasons_and_present_ones_are_never_empty(opened):
    for name in ("jamba", "mamba", "granitemoehybrid", "llama4_text"):
        found = sites(opened(name))
        assert not found.present.keys() & found.absent.keys()
        _, cache = run_with_cache(opened(name), IDS)
        assert cache.absent == found.absent
        assert all(array.size for array in cache.values())
        assert all(len(site.axes) == cache[key].ndim for key, site in found.present.items())


def test_wrong_hooks_and_ids_are_refused(stories):
    for function, code in (
        (lambda x: x[:, :1], "LI-E111"),
        (lambda x: 3, "LI-E110"),
        (lambda x: x.astype(mx.int32), "LI-E111"),
    ):
        with pytest.raises(HookError) as found:
            run_with_hooks(stories, IDS, [("blocks.0.attn_out", function)])
        assert found.value.code == code
    with pytest.raises(HookError):
        run_with_hooks(stories, IDS, [("blocks.0.attn_out", None)])
    for ids in ([1, 2], [[]], [[1], [1, 2]], [[0.5]], "text"):
        with pytest.raises(RequestError) as refused:
            run_with_cache(stories, ids)
        assert refused.value.code == "LI-E120"
    with pytest.raises(RequestError, match=r"a text: give its token ids, such as \[lm.tokenizer.encode\(text\)\]"):
        run_with_cache(stories, "text")
    with pytest.raises(Exception, match="below 512"):
        run_with_cache(stories, [[512]])
    with pytest.raises(SiteError) as other:
        run_with_cache(object(), IDS)
    assert other.value.code == "LI-E102"
    _, cache = run_with_cache(stories, IDS, "resid_final")
    with pytest.raises(SiteError) as missing:
        cache["resid_pre", 0]
    assert missing.value.code == "LI-E103"


def test_a_model_whose_layers_were_replaced_is_refused(stories):
    import copy

    from lazarus_models.backend import nn

    class Other(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __call__(self, x):
            return x

    model = copy.deepcopy(stories.model)
    with pytest.raises(HookError) as found, hooked(model, [("blocks.0.mlp.post", lambda x: x)]):
        model.layers[0].mlp = Other(model.layers[0].mlp)
        model(mx.array(IDS))
    assert found.value.code == "LI-E112"


def test_threads_do_not_see_hooks_of_each_other(stories):
    from threading import Thread

    from lazarus_models.backend import own_streams

    plain, found = np.array(stories.model(mx.array(IDS))), []

    def other():
        with own_streams():
            found.append(np.array(stories.model(mx.array(IDS))))

    with hooked(stories, [("blocks.0.attn_out", mx.zeros_like)]):
        thread = Thread(target=other)
        thread.start()
        thread.join()
        assert not np.array_equal(np.array(stories.model(mx.array(IDS))), plain)
    assert np.array_equal(found[0], plain)
