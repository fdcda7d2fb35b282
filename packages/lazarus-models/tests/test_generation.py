import itertools
import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_models import ChatHistory, GenerationConfig, generate, load
from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.generation import PromptCache, decode_stream, generate_steps, generate_tokens, prompt_ids
from lazarus_models.generation.streaming import until_stop
from suite import share


@pytest.mark.slow
def test_cached_equals_uncached_on_a_trained_model(stories, data):
    lines = (data / "datasets/gsm8k/test.jsonl").read_text(encoding="utf-8").splitlines()[:100]
    config = GenerationConfig(max_new_tokens=8)
    for index, line in share(list(enumerate(lines)), 3):
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
    with pytest.raises(GenerationError, match="needs a text"):
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


def test_stop_texts_end_the_text_and_are_no_part_of_it(stories):
    free = generate(stories, "", GenerationConfig(max_new_tokens=60), raw=True).text
    pieces = []
    config = GenerationConfig(max_new_tokens=60, stop=("named Lily", "never"))
    done = generate(stories, "", config, raw=True, on_text=pieces.append)
    assert done.text == free[: free.index("named Lily")]
    assert "".join(pieces) == done.text
    assert done.finish_reason == "stop"


@given(
    text=st.text(alphabet="ab", max_size=30),
    stops=st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=10),
)
def test_a_stop_text_is_found_however_the_text_is_cut(text, stops, cuts):
    bounds = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(bounds)]
    found = [text.find(stop) for stop in stops if stop in text]
    shown = "".join(until_stop(pieces, stops))
    # the earliest by its end is met first; an earlier beginning that ends later may be met first in one piece
    assert shown == text if not found else text.startswith(shown) and len(shown) <= max(found)


def test_log_probabilities_are_those_of_the_model(stories):
    config = GenerationConfig(max_new_tokens=5, temperature=0.8, seed=1, logprobs=3)
    ids = prompt_ids(stories, "Once upon a", raw=True)
    done = generate(stories, "Once upon a", config, raw=True)
    logits = stories.model(mx.array([[*ids, *done.ids[:-1]]]))[0, len(ids) - 1 :]
    expected = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    for place, (token, said) in enumerate(zip(done.ids, done.logprobs, strict=True)):
        assert said.logprob == pytest.approx(expected[place, token].item(), abs=1e-4)
        assert [value for _, value in said.top] == pytest.approx(sorted(expected[place].tolist())[:-4:-1], abs=1e-4)


def test_a_frequency_penalty_ends_repetition(stories):
    def ids(**settings):
        return generate(stories, "", GenerationConfig(max_new_tokens=60, **settings), raw=True).ids

    assert len(set(ids(frequency_penalty=2.0))) > len(set(ids()))
    assert len(set(ids(repetition_penalty=5.0))) > len(set(ids()))
    banned = ids()[0]
    assert banned not in ids(logit_bias={banned: float("-inf")})


def test_a_conversation_goes_on_where_its_cache_ends(stories, tmp_path):
    config = GenerationConfig(max_new_tokens=10)
    first = prompt_ids(stories, "Once upon a", raw=True)
    whole = [*first, *generate(stories, "Once upon a", config, raw=True).ids, 403, 407]
    alone = [step.id for step in generate_steps(stories.model, whole, config, PromptCache.empty(stories.model))]
    cache = PromptCache.empty(stories.model)
    generate(stories, "Once upon a", config, raw=True, cache=cache)
    assert cache.ids == whole[: len(cache.ids)]
    path = tmp_path / os.fsdecode(b"h\xf6ren.safetensors")
    cache.save(path)
    for again in (PromptCache.load(path), cache):
        assert [step.id for step in generate_steps(stories.model, whole, config, again)] == alone
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(GenerationError, match="does not continue the cache"):
        list(generate_steps(stories.model, first, config, cache))


@pytest.mark.parametrize("name", ["llama", "mistral", "mamba", "gpt_oss"])
def test_a_conversation_that_goes_otherwise_reads_what_is_other(data, name):
    lm = load(data / "models/families" / name)
    config = GenerationConfig(max_new_tokens=12, stop_ids=())
    cache, first, other = PromptCache.empty(lm.model), [1, *range(5, 25)], [1, *range(5, 15), 40, 41]
    for prompt in (first, other, other, [*other, 7]):
        cache.go_back(lm.model, prompt)
        went_on = [step.id for step in generate_steps(lm.model, prompt, config, cache)]
        assert went_on == list(generate_tokens(lm.model, prompt, config))


def test_a_conversation_reads_only_what_is_new(tiny, monkeypatch):
    read, sizes = PromptCache.read, []

    def counted(self, model, ids):
        sizes.append(len(ids))
        return read(self, model, ids)

    monkeypatch.setattr(PromptCache, "read", counted)
    cache, history = PromptCache.empty(tiny.model), ChatHistory.of("Be brief.")
    for _ in range(3):
        history = history.user("Hello")
        done = generate(tiny, history.messages, GenerationConfig(max_new_tokens=4, stop_ids=()), cache=cache)
        history = history.assistant("Hi")
    assert done.prompt_tokens == len(prompt_ids(tiny, history.messages[:-1]))
    assert sizes[0] + sizes[1] + sizes[2] == done.prompt_tokens


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_text("no", encoding="utf-8")
    with pytest.raises(GenerationError, match="not a prompt cache"):
        PromptCache.load(tmp_path / "x.safetensors")


def test_a_text_that_is_left_early_leaves_a_sound_cache(stories):
    cache = PromptCache.empty(stories.model)
    done = generate(stories, "", GenerationConfig(max_new_tokens=60, stop=("there",)), raw=True, cache=cache)
    assert cache.layers[0].offset == len(cache.ids)
    assert cache.ids == [1, *done.ids]
