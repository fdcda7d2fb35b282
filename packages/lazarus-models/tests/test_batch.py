import pytest

from lazarus_models import GenerationConfig, generate, generate_batch, load
from lazarus_models.generation import prompt_cache as cache

PROMPTS = ["Once upon a time", "The", "One day, a big dog", "Lily liked to", "Tom and", "She", "It was a sunny day and"]


@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(max_new_tokens=20),
        GenerationConfig(max_new_tokens=20, temperature=0.9, top_p=0.9, frequency_penalty=0.4, seed=3, logprobs=1),
    ],
)
def test_a_batch_says_what_each_prompt_would_be_told_alone(stories, config):
    alone = [generate(stories, prompt, config, raw=True) for prompt in PROMPTS]
    together = generate_batch(stories, PROMPTS, config, raw=True, batch_size=3)
    assert [done.ids for done in together] == [done.ids for done in alone]
    assert [done.text for done in together] == [done.text for done in alone]
    if config.logprobs:
        first, same = alone[0].logprobs[5], together[0].logprobs[5]
        assert first.logprob == pytest.approx(same.logprob, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["gemma3_text", "granitemoehybrid", "jamba", "llama4_text", "mamba", "mistral", "gpt_oss"]
)
def test_every_kind_of_cache_can_be_joined_and_left(data, name):
    lm = load(data / "models/families" / name)
    config = GenerationConfig(max_new_tokens=12, stop_ids=(300,))
    prompts = ["Once upon a time there", "a", "She saw the big", "no"]
    alone = [generate(lm, prompt, config, raw=True).ids for prompt in prompts]
    assert [done.ids for done in generate_batch(lm, prompts, config, raw=True, batch_size=2)] == alone


def test_texts_too_long_for_one_row_are_read_in_several(stories, monkeypatch):
    monkeypatch.setattr(cache, "PREFILL", 6)
    texts = [[1, 50, 60], [1, 70, 80], [1, 90], [1, *range(40, 50)]]
    for ids, (remembered, logits) in zip(texts, cache.read_texts(stories.model, texts), strict=True):
        alone = cache.PromptCache.empty(stories.model)
        assert abs(alone.read(stories.model, ids) - logits).max().item() < 1e-4
        assert remembered.ids == alone.ids == ids
        assert [layer.offset for layer in remembered.layers] == [len(ids)] * 5


def test_answers_are_handed_over_as_they_are_finished(stories):
    order = []
    config = GenerationConfig(max_new_tokens=30, stop=(".",))
    done = generate_batch(
        stories, PROMPTS, config, raw=True, batch_size=4, on_done=lambda index, answer: order.append((index, answer))
    )
    assert sorted(index for index, _ in order) == list(range(len(PROMPTS)))
    assert all(done[index] is answer for index, answer in order)
    assert not any("." in answer.text for answer in done)


def test_no_prompts_give_no_answers(stories):
    assert generate_batch(stories, []) == []
