import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from lazarus_models import segment_caches
from lazarus_models.backend import mx, nn
from lazarus_models.components import segment_mask
from lazarus_models.loading import supports_packing
from lazarus_models.trees import flatten, weights


def by_hand(ids, window):
    """Who attends to whom, written as loops."""
    n = len(ids)
    return [
        [key <= query and ids[key] == ids[query] and (window is None or query - key < window) for key in range(n)]
        for query in range(n)
    ]


@settings(deadline=None)
@given(ids=st.lists(st.integers(-1, 3), min_size=1, max_size=12), window=st.none() | st.integers(1, 4))
def test_the_mask_is_what_loops_say(ids, window):
    mask = segment_mask(mx.array([ids]), window)
    assert mask.shape == (1, 1, len(ids), len(ids))
    assert mask[0, 0].tolist() == by_hand(ids, window)
    assert mask.any(axis=-1).all()  # no empty row, so no NaN


def row(seed, *lengths):
    return [mx.random.randint(0, 200, (length,), key=mx.random.key(seed + i)) for i, length in enumerate(lengths)]


def packed(segments, padding):
    ids = mx.concatenate([*segments, mx.zeros(padding, dtype=mx.int32)])
    labels = [index + 1 for index, segment in enumerate(segments) for _ in range(segment.size)] + [0] * padding
    return ids[None], mx.array([labels])


def test_packed_logits_equal_those_alone(tiny):
    segments = row(0, 5, 9, 1, 7)
    ids, labels = packed(segments, padding=4)
    together = tiny.model(ids, cache=segment_caches(tiny.model, labels))[0]
    assert mx.isfinite(together).all()
    start = 0
    for segment in segments:
        alone = tiny.model(segment[None])[0]
        assert mx.abs(together[start : start + segment.size] - alone).max().item() < 1e-5
        start += segment.size


def test_packed_logits_equal_those_alone_on_a_trained_model(stories):
    segments = row(3, 20, 33, 11)
    ids, labels = packed(segments, padding=0)
    together = stories.model(ids, cache=segment_caches(stories.model, labels))[0]
    alone = mx.concatenate([stories.model(segment[None])[0] for segment in segments])
    assert mx.abs(together - alone).max().item() < 1e-5 * mx.abs(alone).max().item()


def test_packed_loss_and_gradients_equal_those_alone(tiny):
    segments = row(5, 6, 10)
    ids, labels = packed(segments, padding=3)

    def total(model, ids, labels):
        logits = model(ids, cache=segment_caches(model, labels))
        real = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)
        return (nn.losses.cross_entropy(logits[:, :-1], ids[:, 1:]) * real).sum()

    loss_and_gradients = nn.value_and_grad(tiny.model, total)
    loss, gradients = loss_and_gradients(tiny.model, ids, labels)
    alone = [loss_and_gradients(tiny.model, one[None], mx.ones((1, one.size), dtype=mx.int32)) for one in segments]
    assert loss.item() == pytest.approx(sum(one.item() for one, _ in alone), abs=1e-5)
    first, second = (flatten(one) for _, one in alone)
    for name, gradient in flatten(gradients).items():
        assert np.abs(np.array(gradient - (first[name] + second[name]))).max() < 1e-5, name
    assert len(first) == len(weights(tiny.model))


def test_padding_changes_no_real_token(tiny):
    segments = row(9, 8)
    logits = []
    for padding in (0, 5):
        ids, labels = packed(segments, padding)
        logits.append(tiny.model(ids, cache=segment_caches(tiny.model, labels))[0, :8])
    assert mx.abs(logits[0] - logits[1]).max().item() < 1e-5


@pytest.mark.thorough  # a run of everything checks no shapes
def test_shapes_are_checked_while_testing():
    with pytest.raises(TypeCheckError):
        segment_mask(mx.zeros((2, 3, 4), dtype=mx.int32))


def test_llama_says_that_it_can_be_packed(tiny):
    assert supports_packing(tiny)
