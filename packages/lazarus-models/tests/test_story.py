"""The story that llama2.c publishes for stories260K, greedy from BOS, however it is told."""

import pytest

from lazarus_models import (
    GenerationConfig,
    LoraConfig,
    apply_lora,
    generate,
    generate_batch,
    load,
    merge_lora,
    save,
    stream,
)
from lazarus_models.adapters import unmerge_lora
from lazarus_models.generation import generate_tokens, speculative_tokens
from lazarus_models.loading import perplexity, quantize
from suite import repeats

STORY = """Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. \
She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she"""
TOKENS = repeats(200, 80)
"""Of the story; the default run reads its beginning."""
WHOLE = GenerationConfig(max_new_tokens=TOKENS)


def told(lm):
    return generate(lm, "", WHOLE, raw=True).text


def check(*texts: str) -> None:
    for text in texts:
        assert text == STORY if TOKENS == 200 else len(text) > 2 * TOKENS and STORY.startswith(text)


@pytest.fixture
def own(stories):
    """A model to change."""
    return load(stories.path)


def test_at_once_and_in_pieces(stories):
    check(told(stories), "".join(stream(stories, "", WHOLE, raw=True)))


@pytest.mark.slow
def test_without_a_cache(stories):
    check(stories.tokenizer.decode(list(generate_tokens(stories.model, [1], WHOLE, use_cache=False))))


def test_among_others_and_with_a_draft(stories):
    among = generate_batch(stories, ["Lily", "", "One day"], WHOLE, raw=True)
    check(among[1].text)
    ahead = speculative_tokens(stories.model, stories.model, [1], WHOLE, ahead=5)
    check(stories.tokenizer.decode(list(ahead)))


def test_after_it_was_saved(stories, tmp_path):
    save(stories, tmp_path)
    check(told(load(tmp_path)))


def test_with_an_adapter_merged_and_unmerged(own):
    apply_lora(own.model, LoraConfig(), seed=0)
    check(told(own))
    adapted = merge_lora(own.model)
    check(told(own))
    unmerge_lora(own.model, adapted)
    check(told(own))


@pytest.mark.slow
@pytest.mark.thorough
def test_in_eight_bits(own, data):
    """The text goes on otherwise after its first paragraph: two tokens were nearly as likely. The bar is perplexity."""
    verses = (data / "datasets/text/tinyshakespeare.txt").read_text(encoding="utf-8")
    ids = own.tokenizer.encode(verses)[:4000]
    before = perplexity(own, ids)
    quantized = quantize(own, bits=8, group_size=32)
    assert generate(quantized, "", GenerationConfig(max_new_tokens=80), raw=True).text.startswith(
        STORY.partition("\n")[0]
    )
    assert perplexity(quantized, ids) == pytest.approx(before, rel=0.01)
