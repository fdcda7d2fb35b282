"""Let a model call a function and answer with what it gave.

`python call_functions.py qwen3-0.6b "What is 17 * 23?"`, or `python call_functions.py --test-tiny`, without a download.
"""

import argparse
import sys

from lazarus_core.console import run
from lazarus_models import ChatHistory, GenerationConfig, UnifiedPipeline, init_model
from lazarus_models.chat import Tool, ToolCall
from lazarus_tokenkit import load_tokenizer

QUESTION = "What is 17 * 23?"
MULTIPLY = Tool(
    "multiply",
    "Multiplies two numbers.",
    {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
)


def run_call(call: ToolCall) -> str:
    """The result of the function, or the reason why there is none. A model can write any name and any arguments."""
    if call.name != MULTIPLY.name:
        return f"there is no function {call.name!r}"
    match call.arguments:
        case {"a": int() | float() as a, "b": int() | float() as b}:
            return str(a * b)
        case _:
            return f"{MULTIPLY.name} takes two numbers, `a` and `b`"


def ask(pipeline: UnifiedPipeline, question: str, config: GenerationConfig) -> str:
    """The answer, after the calls that the model asks for."""
    reply = pipeline.chat(ChatHistory.of().user(question), config, tools=[MULTIPLY])
    history = reply.history
    for call in reply.tool_calls:
        sys.stderr.write(f"{call.name}({call.arguments})\n")
        history = history.tool(run_call(call))
    return pipeline.chat(history, config).text if reply.tool_calls else reply.text


def main(default: str | None = None) -> None:
    """Asks the model, or tries a new model. `default` is asked if no model is given."""
    parser = argparse.ArgumentParser(description="Let a model call a function.")
    parser.add_argument("model", nargs="?", default=default, help="short name, directory or owner/name")
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--test-tiny", action="store_true", help="use a new tiny model, without a download")
    asked = parser.parse_args()
    if asked.test_tiny:
        pipeline = UnifiedPipeline(init_model("tiny-test", load_tokenizer("byte"), seed=0))
        ask(pipeline, "What is 2 * 3?", GenerationConfig(max_new_tokens=8))
        sys.stdout.write(f"17 * 23 = {run_call(ToolCall('multiply', {'a': 17, 'b': 23}))}\n")
        return
    if asked.model is None:
        parser.error("give a model such as qwen3-0.6b, or --test-tiny")
    pipeline = UnifiedPipeline.from_pretrained(asked.model)
    sys.stdout.write(ask(pipeline, asked.question, GenerationConfig(max_new_tokens=256)) + "\n")


if __name__ == "__main__":
    run(lambda standalone_mode: main(), "call_functions.py")
