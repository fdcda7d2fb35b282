"""The names of `lazarus_models.inference`, and the reprs of what they return."""

import time

import pytest

from lazarus_models import LoadedModel, init_model
from lazarus_models.errors import GenerationError
from lazarus_models.families import ModelFamilyType
from lazarus_models.generation import PromptCache
from lazarus_models.inference import (
    ChatHistory,
    DType,
    GenerationConfig,
    HFLoader,
    UnifiedPipeline,
    UnifiedPipelineConfig,
    family_type,
    format_chat_prompt,
    generate,
)

REPR_LIMIT = 160


@pytest.fixture(scope="module")
def pipeline(stories):
    return UnifiedPipeline(stories)


def test_the_seeds_spelling_loads_in_the_asked_precision(stories):
    config = UnifiedPipelineConfig(dtype=DType.BFLOAT16)
    pipeline = UnifiedPipeline.from_pretrained(str(stories.path), pipeline_config=config)
    assert str(pipeline.lm.model.body.embed_tokens.weight.dtype).endswith("bfloat16")
    assert pipeline.family_type is ModelFamilyType.LLAMA
    result = pipeline.chat("What is the capital of France?", max_new_tokens=5)
    assert len(result.generation.ids) == 5
    assert result.stats.summary.startswith("5 tokens in ")


def test_two_names_of_one_setting_are_refused(stories):
    with pytest.raises(GenerationError, match="`config` and `pipeline_config` are the same setting"):
        UnifiedPipeline.from_pretrained(stories.path, UnifiedPipelineConfig(), pipeline_config=UnifiedPipelineConfig())


def test_keywords_are_the_same_as_a_config(pipeline):
    config = GenerationConfig(max_new_tokens=9, temperature=2.0, seed=3)
    by_config = pipeline.generate("Once", config=config)
    by_keywords = pipeline.generate("Once", max_new_tokens=9, temperature=2.0, seed=3)
    mixed = pipeline.generate("Once", GenerationConfig(max_new_tokens=2, temperature=2.0, seed=3), max_new_tokens=9)
    assert by_config.ids == by_keywords.ids == mixed.ids
    assert "".join(pipeline.generate_stream("Once", config, max_new_tokens=9)) == by_config.text
    assert pipeline.generate("Once", max_new_tokens=9).ids != by_config.ids


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"max_tokens": 5}, "max_tokens"), ({"max_new_tokens": 0}, "max_new_tokens"), ({"top_p": 0.5}, "`top_p` has no")],
)
def test_a_wrong_keyword_is_named(pipeline, changes, words):
    with pytest.raises(GenerationError, match=words):
        pipeline.chat("Hello", **changes)


def test_a_system_message_starts_a_conversation(pipeline):
    reply = pipeline.chat("Hello", system_message="Be kind.", max_new_tokens=2)
    assert [message.content for message in reply.history][:2] == ["Be kind.", "Hello"]
    again = pipeline.chat_with_history(ChatHistory.of("Be kind.").user("Hello"), max_new_tokens=2)
    assert again.generation.ids == reply.generation.ids
    with pytest.raises(GenerationError, match="`system_message` has no effect on a conversation"):
        pipeline.chat(reply.history.user("More"), system_message="Be brief.")


def test_the_prompt_text_is_what_chat_reads(pipeline):
    tokenizer = pipeline.lm.tokenizer
    text = format_chat_prompt(tokenizer, "Hello", "Be kind.")
    assert text == format_chat_prompt(tokenizer, ChatHistory.of("Be kind.").user("Hello"))
    asked = pipeline.chat("Hello", system_message="Be kind.", max_new_tokens=3).generation
    continued = pipeline.generate(text, max_new_tokens=3)
    assert (continued.ids, continued.prompt_tokens) == (asked.ids, asked.prompt_tokens)


def test_the_steps_of_loading_give_the_same_model(stories):
    found = HFLoader.download(stories.path)
    assert (found.model_path, found.revision) == (stories.path, None)
    assert HFLoader.load_tokenizer(found.model_path).vocab == stories.tokenizer.vocab
    half = HFLoader.load(found.model_path, DType.FLOAT16)
    assert half.config == stories.config
    assert family_type(found.model_path) is family_type(half) is ModelFamilyType.LLAMA


def test_reprs_fit_a_line(pipeline, byte_tokenizer):
    cache = PromptCache.empty(pipeline.lm.model)
    reply = pipeline.chat("Tell me a long story. " * 20, max_new_tokens=60, cache=cache)
    new: LoadedModel = init_model("nano", byte_tokenizer, seed=0)
    for value in (pipeline, pipeline.lm, new, reply, reply.generation, cache):
        assert repr(value).startswith(type(value).__name__ + "(")
        assert len(repr(value)) <= REPR_LIMIT, repr(value)
        assert "\n" not in repr(value)
        assert "array" not in repr(value)
    assert repr(pipeline) == "UnifiedPipeline(llama, 260,032 parameters, stories260k)"


def test_reading_and_writing_are_timed_apart(pipeline):
    heard: list[float] = []
    start = time.perf_counter()
    config = GenerationConfig(max_new_tokens=40)
    done = generate(pipeline.lm, "Once", config, raw=True, on_text=lambda _: heard.append(time.perf_counter() - start))
    assert 0 < done.first_token_s < heard[0] < heard[-1] < done.seconds + 1  # before its text is printed
    assert pipeline.generate_many(["Once"])[0].first_token_s is None
