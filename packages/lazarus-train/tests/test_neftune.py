import numpy as np
import pytest

import lazarus_models
import lazarus_models.trees
from lazarus_models.backend import mx
from lazarus_plan import PlanCursor
from lazarus_train.data.batches import make_batch
from lazarus_train.layers.neftune import embedding_noise
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.preflight.inputs import check_run

WIDTH = 32


@pytest.fixture
def step(setup):
    rows = [{"prompt": "What is it?", "completion": "0 and 1 " * count} for count in range(1, 9)]
    setup.write_rows(rows * 2)
    setup.build_plan(token_budget=96 * 3, row_len=96)
    enforced = check_run(setup.config())
    share = PlanCursor(enforced.plan, micro_rows=1).share(0)
    return enforced.dataset, share


def test_the_noise_is_uniform_within_alpha_over_the_root_of_length_and_width(step):
    dataset, share = step
    batch = make_batch(share.step.rows, dataset, share.step.row_len)
    noise = np.array(embedding_noise(batch, WIDTH, 5.0, seed=1))
    assert len({part.end - part.start for part in batch.parts}) > 1
    for part in batch.parts:
        bound = 5.0 / np.sqrt((part.end - part.start) * WIDTH)
        here = noise[part.row, part.start : part.end]
        assert np.abs(here).max() <= bound
        assert here.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
    padding = np.array(batch.segment_ids) == 0
    assert padding.any()
    assert not noise[padding].any()


def test_a_row_has_the_same_noise_whatever_it_is_computed_with(step):
    dataset, share = step
    rows, row_len = share.step.rows, share.step.row_len
    whole = embedding_noise(make_batch(rows, dataset, row_len), WIDTH, 5.0, seed=1)
    for micro_batch in share.micro_batches:
        batch = make_batch(micro_batch, dataset, row_len, len(rows))
        assert mx.array_equal(embedding_noise(batch, WIDTH, 5.0, seed=1), whole[batch.numbers[0]][None])
    assert not mx.array_equal(embedding_noise(make_batch(rows, dataset, row_len), WIDTH, 5.0, seed=2), whole)


def test_only_training_is_noisy_and_the_weights_keep_their_names(setup):
    lm = lazarus_models.load(setup.model)
    names = list(lazarus_models.trees.weights(lm.model))
    ids = mx.arange(8)[None]
    plain = lm.model(ids)
    wrap_layers(lm.model, Wrapping(noise=True))
    assert list(lazarus_models.trees.weights(lm.model)) == names
    assert mx.array_equal(lm.model(ids), plain)
    lm.model.model.embed_tokens.add(mx.ones((1, 8, WIDTH)))
    lm.model.train()
    assert not mx.allclose(lm.model(ids), plain, atol=1e-3)
    lm.model.eval()
    assert mx.array_equal(lm.model(ids), plain)


def test_an_embedding_that_adapters_froze_stays_frozen(setup):
    lm = lazarus_models.load(setup.model)
    lazarus_models.apply_lora(lm.model, lazarus_models.LoraConfig(rank=2), seed=0)
    wrap_layers(lm.model, Wrapping(noise=True))
    trainable = lazarus_models.trees.flatten(lm.model.trainable_parameters())
    assert all("lora" in name for name in trainable)


def test_noise_takes_the_precision_of_the_embedding(setup):
    model = lazarus_models.load(setup.model).model
    embedding = model.model.embed_tokens
    embedding.weight = embedding.weight.astype(mx.bfloat16)
    wrap_layers(model, Wrapping(noise=True))
    embedding.add(mx.ones((1, 2, WIDTH)))
    model.train()
    assert embedding(mx.array([[0, 1]])).dtype == mx.bfloat16
    assert not mx.array_equal(embedding(mx.array([[0, 1]])), embedding.weight[:2][None])


def test_an_adapted_embedding_is_noisy_beside_its_adapter(setup):
    model = lazarus_models.load(setup.model).model
    model.freeze()
    from mlx_lm.tuner.lora import LoRAEmbedding

    adapted = LoRAEmbedding.from_base(model.model.embed_tokens, r=2)
    model.model.embed_tokens = adapted
    ids, noise = mx.array([[0, 1]]), mx.ones((1, 2, WIDTH))
    plain = adapted(ids)
    wrap_layers(model, Wrapping(noise=True))
    model.train()
    adapted.add(noise)
    assert mx.allclose(adapted(ids), plain + noise)
    assert set(lazarus_models.trees.flatten(model.trainable_parameters())) == {
        f"model.embed_tokens.lora_{side}" for side in "ab"
    }
