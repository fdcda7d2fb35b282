"""Direct logit attribution: references, and the laws P1 to P3 of 4.3."""

import numpy as np
import pytest

import suite
from lazarus_introspect import attribute, run_with_cache, sites
from lazarus_introspect.errors import RequestError
from lazarus_introspect.reading.attribution import FrozenNorm
from lazarus_models.backend import mx, nn

EVERY = (*suite.FAMILIES, "llama+4bit", "gemma3_text+4bit", "gpt_oss+4bit", "qwen3+lora", "stories260k")
IDS = [[1, 5, 9, 200, 33, 7, 5, 9, 200, 60, 61, 62]]


def test_a_trained_model_equals_its_reference(stories, causal):
    said, clean, _, expected = causal
    found = attribute(stories, clean, said["pos_id"], said["neg_id"])
    assert abs(found.difference - expected["ld_clean_corrupt"][0]) < 2e-5
    assert abs(found.embed - expected["dla_embed"][0]) < 2e-5
    assert np.abs(np.array(found.heads) - expected["dla_head"]).max() < 2e-5
    assert np.abs(np.array(found.mlp) - expected["dla_mlp"]).max() < 2e-5


@pytest.mark.parametrize("name", EVERY)
def test_shares_sum_to_the_difference_and_are_antisymmetric(name, opened):
    lm = opened(name)
    found, back = attribute(lm, IDS, 17, 300), attribute(lm, IDS, 300, 17)
    scale = 1 + abs(found.difference)
    assert abs(found.total - found.difference) < 1e-5 * scale
    assert abs(found.total + back.total) < 1e-5 * scale
    early = attribute(lm, IDS, 17, 300, position=4)
    assert abs(early.total - early.difference) < 1e-5 * scale
    assert abs(attribute(lm, [IDS[0][:5]], 17, 300).total - early.total) < 2e-5 * scale


@pytest.mark.parametrize("name", EVERY)
def test_heads_and_neurons_sum_to_their_part(name, opened):
    lm = opened(name)
    found = attribute(lm, IDS, 17, 300)
    _, cache = run_with_cache(lm, IDS)
    norm = lm.model.body[lm.model.config.names[2]]
    head = lm.model.head

    def difference(x):
        logits = head(norm(x))
        return (logits[..., 17] - logits[..., 300]).sum()

    # With the scale of the norm frozen, its gradient is the direction; without, this is an independent way to it.
    final = cache["resid_final"][0, -1]
    unembedded = mx.grad(lambda x: head(x)[17] - head(x)[300])(mx.zeros_like(final))
    direction = FrozenNorm(norm, final).direction(unembedded)
    assert abs(float((final * direction).sum()) + found.norm_bias - float(difference(final))) < 1e-4
    for layer in range(sites(lm).layers):
        prefix = f"blocks.{layer}."
        out = cache[prefix + "attn_out"] if prefix + "attn_out" in cache else cache[prefix + "mixer_out"]
        assert abs(found.attention[layer] - float((out[0, -1] * direction).sum())) < 2e-5
        if found.neurons[layer] is not None:
            # one feed-forward part without bias: the neurons are all of it
            parts = lm.model.config.blocks[layer].feed_forward
            if len(parts) == 1 and not parts[0].bias:
                assert abs(found.neurons[layer].sum() - found.mlp[layer]) < 2e-5
        else:
            assert "mlp.post" not in " ".join(key for key in cache if key.startswith(prefix))


def test_neurons_with_an_output_bias_sum_to_the_rest(opened):
    lm = opened("starcoder2")
    found = attribute(lm, IDS, 17, 300)
    _, cache = run_with_cache(lm, IDS, ["resid_final"])
    norm = lm.model.body[lm.model.config.names[2]]
    final = cache["resid_final"][0, -1]
    unembedded = mx.grad(lambda x: lm.model.head(x)[17] - lm.model.head(x)[300])(mx.zeros_like(final))
    direction = FrozenNorm(norm, final).direction(unembedded)
    for layer, block in enumerate(lm.model.layers):
        bias = float((block.mlp.c_proj.bias * direction).sum())
        assert abs(found.neurons[layer].sum() + bias - found.mlp[layer]) < 2e-5


def test_unknown_norms_and_positions_are_refused(stories):
    with pytest.raises(RequestError) as found:
        FrozenNorm(nn.GroupNorm(1, 4), mx.ones((1, 4)))
    assert found.value.code == "LI-E125"
    for ids, position, code in ((IDS * 2, -1, "LI-E123"), (IDS, 12, "LI-E124"), (IDS, -13, "LI-E124")):
        with pytest.raises(RequestError) as found:
            attribute(stories, ids, 1, 2, position=position)
        assert found.value.code == code
    with pytest.raises(Exception, match="below 512"):
        attribute(stories, IDS, 1, 512)
