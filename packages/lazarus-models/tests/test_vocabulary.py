"""No id from outside reaches MLX beyond an array, where it would read or write memory that is not its own."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_models import GenerationConfig, LoraConfig, SequenceModel, load
from lazarus_models.backend import mx
from lazarus_models.components import Decoder
from lazarus_models.components.sequence_head import classification_loss
from lazarus_models.composition.architectures import transformer
from lazarus_models.errors import ConfigError, GenerationError
from lazarus_models.generation import PromptCache, batch_tokens, generate_steps, generate_tokens, speculative_tokens
from lazarus_models.generation.batch import BatchRunner, Entry
from lazarus_models.generation.diffusion import DiffusionConfig, diffuse
from lazarus_models.generation.sampling import count, draw
from lazarus_models.loading import perplexity
from lazarus_models.serving.engine import Engine
from suite import examples

VOCABULARY = 512
OUTSIDE = st.one_of(st.integers(VOCABULARY, 2**40), st.integers(-(2**40), -1))
SHORT = GenerationConfig(max_new_tokens=2)


def readers(model):
    """Every way from ids to a model."""
    draft = model
    return {
        "cached": lambda ids, config: list(generate_tokens(model, ids, config)),
        "uncached": lambda ids, config: list(generate_tokens(model, ids, config, use_cache=False)),
        "steps": lambda ids, config: list(generate_steps(model, ids, config, PromptCache.empty(model))),
        "batch": lambda ids, config: batch_tokens(model, [([1], config), (ids, config)]),
        "runner": lambda ids, config: BatchRunner(model).join([Entry(0, ids, config)]),
        "draft": lambda ids, config: list(speculative_tokens(model, draft, ids, config)),
    }


@settings(deadline=None, max_examples=examples(40))
@given(
    token=OUTSIDE,
    place=st.integers(0, 2),
    way=st.sampled_from(["cached", "uncached", "steps", "batch", "runner", "draft"]),
)
def test_a_prompt_beyond_the_vocabulary_is_refused(stories, token, place, way):
    ids = [1, 403, 407]
    ids[place] = token
    with pytest.raises(GenerationError, match=f"the prompt contains id {token}") as refused:
        readers(stories.model)[way](ids, SHORT)
    assert refused.value.code == "LM-E143"


@settings(deadline=None, max_examples=examples(30))
@given(
    token=st.integers(VOCABULARY, 2**31 - 1),
    way=st.sampled_from(["cached", "uncached", "steps", "batch", "runner", "draft"]),
)
def test_a_bias_beyond_the_vocabulary_is_refused(stories, token, way):
    with pytest.raises(GenerationError, match="`logit_bias` contains id") as refused:
        readers(stories.model)[way]([1], SHORT.model_copy(update={"logit_bias": {3: 1.0, token: 5.0}}))
    assert refused.value.code == "LM-E149"


def test_the_last_step_before_mlx_refuses_too():
    logits, config = mx.zeros((4,)), GenerationConfig(logit_bias={4: 1.0})
    with pytest.raises(GenerationError, match="ids are below 4"):
        draw(logits, config, 0, count([], 4))
    with pytest.raises(GenerationError, match="ids are below 4"):
        count([4], 4)


def test_an_engine_refuses_what_it_cannot_read_and_answers_the_others(stories):
    engine = Engine(stories.model, batch_size=2)
    try:
        with pytest.raises(GenerationError):
            engine.submit([VOCABULARY], SHORT)
        assert len(list(engine.submit([1], SHORT).tokens())) == 2
    finally:
        engine.stop()


@pytest.mark.parametrize(
    "bad",
    [
        {"logit_bias": {1: float("nan")}},
        {"logit_bias": {1: float("inf")}},
        {"logit_bias": {-1: 1}},
        {"logit_bias": {1: 1e308}},
        {"logit_bias": {2**31: 1}},
        {"stop_ids": (-1,)},
        {"frequency_penalty": float("nan")},
        {"temperature": float("inf")},
    ],
)
def test_settings_that_are_no_numbers_or_ids_are_refused(bad):
    with pytest.raises(ValidationError):
        GenerationConfig(**bad)


@pytest.mark.parametrize("bad", [{"rank": 2**40}, {"alpha": float("inf")}, {"alpha": float("nan")}])
def test_adapters_beyond_any_number_are_refused(bad):
    with pytest.raises(ValidationError):
        LoraConfig(**bad)


def test_masks_and_texts_beyond_the_vocabulary_are_refused(stories):
    with pytest.raises(GenerationError, match="`mask_id` contains id 512"):
        diffuse(stories.model, [1], DiffusionConfig(mask_id=512, length=2, block=2, steps=2))
    with pytest.raises(GenerationError, match="the prompt contains id 512"):
        diffuse(stories.model, [512], DiffusionConfig(mask_id=3, length=2, block=2, steps=2))
    with pytest.raises(GenerationError, match="the text contains id 600"):
        perplexity(stories, [1, 600])


def test_an_impossible_length_or_class_gives_nan_not_what_lies_behind_the_array():
    model = SequenceModel(transformer(vocab_size=16, width=8, layers=1, heads=2), 2)
    ids = mx.zeros((3, 4), dtype=mx.int32)
    scores = model(ids, mx.array([4, 0, 2**20]))
    assert mx.isnan(scores).any(axis=1).tolist() == [False, True, True]
    assert mx.isnan(classification_loss(mx.zeros((1, 2)), mx.array([2]))).item()
    assert mx.isnan(classification_loss(mx.zeros((1, 2)), mx.array([-3]))).item()


def test_a_text_beyond_learned_positions_is_refused():
    model = Decoder(
        transformer(vocab_size=16, width=8, layers=1, heads=2, rope=None).model_copy(update={"positions": 4})
    )
    assert len(list(generate_tokens(model, [1, 2, 3], SHORT))) == 2
    with pytest.raises(GenerationError, match="the model has 4 positions"):
        list(generate_tokens(model, [1, 2, 3], GenerationConfig(max_new_tokens=4)))
    with pytest.raises(GenerationError, match="the model has 4 positions"):
        list(generate_tokens(model, [1] * 5, SHORT))


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("generation_config.json", "eos_token_id", 512),
        ("generation_config.json", "eos_token_id", [2, -1]),
        ("generation_config.json", "eos_token_id", "x"),
        ("generation_config.json", "eos_token_id", True),
        ("config.json", "eos_token_id", 512),
        ("config.json", "bos_token_id", -1),
        ("config.json", "pad_token_id", 10**9),
    ],
)
def test_special_tokens_that_do_not_exist_are_refused(stories, tmp_path, file, key, value):
    copy = tmp_path / "model"
    shutil.copytree(stories.path, copy)
    said = json.loads((copy / file).read_text()) if (copy / file).exists() else {}
    (copy / file).write_text(json.dumps({**said, key: value}))
    with pytest.raises(ConfigError, match=key):
        load(copy)


def test_a_cache_of_another_model_is_refused(stories, tiny):
    with pytest.raises(GenerationError, match="the cache belongs to another model"):
        generate_steps(stories.model, [1], SHORT, PromptCache.empty(tiny.model))


@pytest.mark.parametrize("ids", ['"x"', "[-1]", "[1.5]", "[true]", "{}", "[" * 100_000])
def test_a_cache_file_with_other_ids_is_refused(stories, tmp_path, ids):
    cache = PromptCache.empty(stories.model)
    cache.read(stories.model, [1, 2])
    path = tmp_path / "cache.safetensors"
    cache.save(path)
    arrays, metadata = mx.load(str(path), return_metadata=True)
    name = next(key for key, value in metadata.items() if value == "[1, 2]")
    mx.save_safetensors(str(path), arrays, {**metadata, name: ids})
    with pytest.raises(GenerationError) as refused:
        PromptCache.load(path)
    assert refused.value.code == "LM-E146"
