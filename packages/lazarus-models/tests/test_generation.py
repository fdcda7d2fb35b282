import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models import GenerationConfig, GenerationError, decode_stream, generate, generate_tokens, prompt_ids

# The published sample of stories260K, greedy from BOS.
STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw"


def test_greedy_text_from_bos_is_the_published_story(stories):
    assert generate(stories, "", GenerationConfig(max_new_tokens=60), raw=True).text.startswith(STORY)


@pytest.mark.slow
def test_cached_equals_uncached_on_a_trained_model(stories, data):
    lines = (data / "datasets/gsm8k/test.jsonl").read_text(encoding="utf-8").splitlines()[:100]
    config = GenerationConfig(max_new_tokens=8)
    for index, line in enumerate(lines):
        ids = prompt_ids(stories, json.loads(line)["question"], raw=True)[: 1 + index % 40]
        cached, uncached = (list(generate_tokens(stories.model, ids, config, use_cache=use)) for use in (True, False))
        assert cached == uncached, index


def test_a_prompt_longer_than_a_prefill_is_read_whole(tiny):
    config = GenerationConfig(max_new_tokens=3)
    ids = [index % 200 for index in range(1100)]
    assert list(generate_tokens(tiny.model, ids, config)) == list(
        generate_tokens(tiny.model, ids, config, use_cache=False)
    )


def test_a_seed_fixes_the_text(stories):
    def text(seed):
        config = GenerationConfig(max_new_tokens=30, temperature=1.0, top_p=0.95, seed=seed)
        return generate(stories, "Once upon a time", config, raw=True).text

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_a_stop_id_ends_the_text_and_is_not_shown(stories):
    free = generate(stories, "", GenerationConfig(max_new_tokens=20), raw=True)
    stop = free.ids[10]
    first = free.ids.index(stop)
    stopped = generate(stories, "", GenerationConfig(max_new_tokens=20, stop_ids=(stop,)), raw=True)
    assert stopped.ids == free.ids[: first + 1]
    assert stopped.finish_reason == "stop"
    assert free.text.startswith(stopped.text)
    assert (free.finish_reason, len(free.ids)) == ("length", 20)


def test_id_zero_is_a_legal_stop_id(tiny):
    def flat(ids, cache=None):
        from lazarus_models.backend import mx

        return mx.zeros((1, ids.shape[1], 5))  # argmax is id 0

    assert list(generate_tokens(flat, [3], GenerationConfig(stop_ids=(0,)), use_cache=False)) == [0]


def test_the_context_ends_the_text(stories):
    short = replace(stories, config=stories.config.model_copy(update={"max_position_embeddings": 20}))
    done = generate(short, "Once upon a", GenerationConfig(max_new_tokens=100), raw=True)
    assert done.finish_reason == "context"
    assert done.prompt_tokens + len(done.ids) == 20


def test_a_prompt_that_fills_the_context_is_refused(stories):
    with pytest.raises(GenerationError, match="the model's context is 512"):
        generate(stories, "word " * 600, raw=True)


def test_an_empty_prompt_is_refused_where_no_bos_begins_it(tiny):
    with pytest.raises(GenerationError, match="no tokens"):
        list(generate_tokens(tiny.model, [], GenerationConfig()))


def test_raw_takes_text_only(tiny):
    with pytest.raises(GenerationError, match="not messages"):
        prompt_ids(tiny, [], raw=True)


def test_a_prompt_is_the_prefix_of_training(tiny):
    from lazarus_tokenkit import CompletionSample, Encoder

    trained = Encoder(tiny.tokenizer).encode(CompletionSample(id="0", prompt="2+2?", completion="4"))
    asked = prompt_ids(tiny, "2+2?")
    assert trained.ids[: len(asked)] == asked
    assert not any(trained.loss_mask[: len(asked)])
    assert trained.loss_mask[len(asked)] == 1


@settings(deadline=None)
@given(before=st.text(max_size=8), text=st.text(max_size=30))
def test_streamed_text_is_whole_characters_and_all_of_it(byte_tokenizer, before, text):
    ids = byte_tokenizer.encode(text, parse_special=False)
    pieces = list(decode_stream(byte_tokenizer, byte_tokenizer.encode(before, parse_special=False), ids))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces if "\ufffd" not in text)


def test_words_are_streamed_with_their_spaces(stories):
    pieces = []
    done = generate(stories, "Once upon a", GenerationConfig(max_new_tokens=12), raw=True, on_text=pieces.append)
    assert "".join(pieces) == done.text
    assert done.text.startswith(" time, there was")
    assert len(pieces) > 6
