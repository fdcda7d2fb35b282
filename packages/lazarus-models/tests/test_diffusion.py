import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_models.backend import mx
from lazarus_models.generation import DiffusionConfig, diffuse
from suite import examples

MASK = 4


def toy(ids, cache=None):
    """A model of five tokens that likes the token after its neighbour's, and masks most of all."""
    before = mx.concatenate([ids[:, :1], ids[:, :-1]], axis=1)
    liked = mx.where(before == MASK, 0, (before + 1) % MASK)
    return (mx.arange(5) == liked[..., None]) * 2.0 + (mx.arange(5) == MASK) * 9.0


@settings(deadline=None, max_examples=examples(30))
@given(
    length=st.integers(1, 12),
    block=st.integers(1, 12),
    extra=st.integers(0, 12),
    remasking=st.sampled_from(["low_confidence", "random"]),
    temperature=st.sampled_from([0.0, 1.0]),
    guidance=st.sampled_from([0.0, 1.5]),
)
def test_no_mask_is_left_and_a_seed_fixes_the_text(length, block, extra, remasking, temperature, guidance):
    config = DiffusionConfig(
        mask_id=MASK,
        length=length,
        block=block,
        steps=-(-length // block) + extra,
        remasking=remasking,
        temperature=temperature,
        guidance=guidance,
        causal=True,
        seed=1,
    )
    answer = diffuse(toy, [1, 2], config)
    assert len(answer) == length
    assert MASK not in answer
    assert diffuse(toy, [1, 2], config) == answer


def test_a_block_is_finished_before_the_next_begins():
    seen = []

    def watching(ids, cache=None):
        seen.append(ids[0, 2:].tolist())
        return toy(ids)

    diffuse(
        watching, [1, 2], DiffusionConfig(mask_id=MASK, length=6, block=3, steps=6, remasking="random", causal=True)
    )
    assert all(row[3:] == [MASK] * 3 or MASK not in row[:3] for row in seen)


def test_one_token_a_block_with_causal_attention_is_greedy_generation(stories):
    from lazarus_models import GenerationConfig
    from lazarus_models.generation import generate_tokens

    # The mask is the token to be chosen, so it reads the place before it: a causal model predicts the next token.
    def shifted(ids, cache=None):
        logits = stories.model(ids)
        return mx.concatenate([logits[:, :1], logits[:, :-1]], axis=1)

    config = DiffusionConfig(mask_id=0, length=8, block=1, steps=8, causal=True)
    greedy = GenerationConfig(max_new_tokens=8, logit_bias={0: -math.inf})
    assert diffuse(shifted, [1], config) == list(generate_tokens(stories.model, [1], greedy))


def test_draws_follow_the_models_probabilities():
    logits = mx.array([0.0, 1.0, 2.0, -1.0, 5.0])

    def fixed(ids, cache=None):
        return mx.broadcast_to(logits, (*ids.shape, 5))

    drawn = [
        diffuse(
            fixed,
            [0],
            DiffusionConfig(mask_id=MASK, length=200, block=200, steps=1, temperature=1.0, causal=True, seed=seed),
        )
        for seed in range(40)
    ]
    shares = np.bincount(list(itertools.chain(*drawn)), minlength=5) / 8000
    expected = np.array([*np.exp([0.0, 1.0, 2.0, -1.0]), 0.0])
    assert shares == pytest.approx(expected / expected.sum(), abs=0.02)


def test_a_bidirectional_model_reads_later_tokens_too(tiny):
    config = DiffusionConfig(mask_id=5, length=4, block=4, steps=4)
    assert len(diffuse(tiny.model, [1, 2, 3], config)) == 4


def test_fewer_steps_than_blocks_are_refused():
    with pytest.raises(ValidationError, match="`steps` 1 is below the 2 blocks"):
        DiffusionConfig(mask_id=0, length=8, block=4, steps=1)
