import asyncio
import pkgutil

import pytest

from lazarus_models import ChatHistory, GenerationConfig, UnifiedPipeline, UnifiedPipelineConfig
from lazarus_models.chat import DType, Tool, ToolCall, parse_calls
from lazarus_models.chat.function_calling import with_tools
from lazarus_models.families import ModelFamilyType
from lazarus_models.families import __path__ as FOLDER


@pytest.fixture(scope="module")
def pipeline(stories):
    config = UnifiedPipelineConfig(generation=GenerationConfig(max_new_tokens=12), system="Be kind.")
    return UnifiedPipeline.from_pretrained(stories.path, config)


def test_every_family_has_its_name(pipeline):
    assert {name for _, name, _ in pkgutil.iter_modules(FOLDER)} - {"family", "plugins"} == set(ModelFamilyType)
    assert pipeline.family is ModelFamilyType.LLAMA


def test_a_text_streamed_is_the_text(pipeline):
    whole = pipeline.generate("Once upon a")
    assert "".join(pipeline.generate_stream("Once upon a")) == whole.text
    assert whole.stats.summary.startswith("12 tokens in ")
    assert [done.ids for done in pipeline.generate_many(["Once upon a"] * 2)] == [whole.ids] * 2


def test_a_conversation_grows_by_question_and_answer(pipeline):
    first = pipeline.chat("Hello")
    assert [message.role for message in first.history] == ["system", "user", "assistant"]
    second = pipeline.chat(first.history.user("Go on"))
    assert len(second.history) == 5
    assert second.history.messages[-1].content == second.text
    assert second.generation.prompt_tokens > first.generation.prompt_tokens


def test_loading_beside_other_tasks_gives_the_same(pipeline, stories):
    async def loaded():
        await UnifiedPipeline.from_pretrained_async(stories.path)  # a second one must not find the first one's thread
        return await UnifiedPipeline.from_pretrained_async(stories.path, UnifiedPipelineConfig(dtype=DType.FLOAT32))

    other = asyncio.run(loaded())
    assert (
        other.generate("One", GenerationConfig(max_new_tokens=6)).text
        == pipeline.generate("One", GenerationConfig(max_new_tokens=6)).text
    )


def test_tools_are_declared_beside_the_instructions():
    tools = [Tool("add", "Adds.", {"type": "object"})]
    told = with_tools(ChatHistory.of("Be kind.").user("What is 2 + 3?").messages, tools)
    assert [message.role for message in told] == ["system", "user"]
    assert told[0].content.startswith("Be kind.\n\nYou may call these functions:")
    assert '"name": "add"' in told[0].content
    assert with_tools(ChatHistory().user("Hello").messages, tools)[0].role == "system"


def test_a_model_that_calls_nothing_has_called_nothing(pipeline):
    reply = pipeline.chat("What is 2 + 3?", tools=[Tool("add")])
    assert (reply.tool_calls, len(reply.history)) == ((), 3)
    assert pipeline.chat("What is 2 + 3?").generation.prompt_tokens < reply.generation.prompt_tokens


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<tool_call>\n{"name": "f", "arguments": {"x": [1, "a"]}}\n</tool_call>', (ToolCall("f", {"x": [1, "a"]}),)),
        ('ok <tool_call>{"name": "f", "arguments": {}}', (ToolCall("f", {}),)),  # stopped at its end
        ('{"name": "f", "parameters": {"x": 1}}', (ToolCall("f", {"x": 1}),)),
        (
            '<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g"}</tool_call>',
            (ToolCall("f", {}), ToolCall("g", {})),
        ),
        (
            "<start_function_call>call:f{x:<escape>a, b<escape>,n:2.5,t:true}",
            (ToolCall("f", {"x": "a, b", "n": 2.5, "t": True}),),
        ),
        ("plain words", ()),
        ("<tool_call>{broken</tool_call>", ()),
        ('<tool_call>["f"]</tool_call>', ()),
    ],
)
def test_calls_are_read_in_every_spelling(text, calls):
    assert parse_calls(text) == calls


def test_a_history_does_not_change(pipeline):
    history = ChatHistory.of("Be kind.")
    assert len(history.user("Hello").tool("42")) == 3
    assert len(history) == 1
    with pytest.raises(ValueError, match="narrator"):
        history.add("narrator", "Meanwhile")
