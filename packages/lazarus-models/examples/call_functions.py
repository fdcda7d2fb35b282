"""Let a model call a function and answer with what it gave.

`python call_functions.py qwen3-0.6b "What is 17 * 23?"`, or `python call_functions.py --test-tiny`, without a download.
"""

import sys

from lazarus_models import ChatHistory, GenerationConfig, UnifiedPipeline, init_model
from lazarus_models.chat import Tool, ToolCall
from lazarus_tokenkit import load_tokenizer

MULTIPLY = Tool(
    "multiply",
    "Multiplies two numbers.",
    {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
)


def run(call: ToolCall) -> str:
    """What the function gives, or why it gives nothing."""
    if call.name != MULTIPLY.name:
        return f"there is no function {call.name!r}"
    return str(call.arguments["a"] * call.arguments["b"])


def ask(pipeline: UnifiedPipeline, question: str, config: GenerationConfig) -> str:
    """The answer, after the calls that the model asks for."""
    reply = pipeline.chat(ChatHistory.of().user(question), config, tools=[MULTIPLY])
    history = reply.history
    for call in reply.tool_calls:
        sys.stderr.write(f"{call.name}({call.arguments})\n")
        history = history.tool(run(call))
    return pipeline.chat(history, config).text if reply.tool_calls else reply.text


def main() -> None:
    """Asks, or tries."""
    if sys.argv[1:] == ["--test-tiny"]:
        pipeline = UnifiedPipeline(init_model("tiny-test", load_tokenizer("byte"), seed=0))
        ask(pipeline, "What is 2 * 3?", GenerationConfig(max_new_tokens=8))
        sys.stdout.write(f"17 * 23 = {run(ToolCall('multiply', {'a': 17, 'b': 23}))}\n")
        return
    model, question = sys.argv[1:]
    answer = ask(UnifiedPipeline.from_pretrained(model), question, GenerationConfig(max_new_tokens=256))
    sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    main()
