"""Tasks that are solved by one call of a tool, and the exact verifier of the call."""

from typing import Any

from lazarus_gym.tasks.questions import Question, Questions, ToolKind
from lazarus_gym.tasks.replies import replies_call

CALCULATOR: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Computes with two whole numbers.",
        "parameters": {
            "type": "object",
            "properties": {
                "operation": {"type": "string", "enum": ["add", "subtract", "multiply"]},
                "a": {"type": "integer"},
                "b": {"type": "integer"},
            },
            "required": ["operation", "a", "b"],
        },
    },
}
"""JSON schema of the tool."""
_OPERATIONS = (("add", "plus", "+"), ("subtract", "minus", "-"), ("multiply", "times", "*"))


def _size(bound: int) -> int:
    return len(_OPERATIONS) * bound * bound


def _ask(number: int, bound: int) -> Question:
    number, operation = divmod(number, len(_OPERATIONS))
    a, b = divmod(number, bound)
    name, word, sign = _OPERATIONS[operation]
    answer = {"add": a + b, "subtract": a - b, "multiply": a * b}[name]
    return Question(f"Use the calculator: how much is {a} {word} {b}?", f"{a} {sign} {b} = {answer}", answer)


QUESTIONS: dict[ToolKind, Questions] = {"calculator_call": Questions(_size, _ask)}


def call_of(prompt: str) -> dict[str, Any]:
    """The call that solves a task.

    >>> call_of("Use the calculator: how much is 3 times 4?")
    {'name': 'calculator', 'arguments': {'operation': 'multiply', 'a': 3, 'b': 4}}

    Raises:
        ValueError: The prompt is none of this kind.
    """
    words = prompt.removesuffix("?").split()
    if len(words) != 9 or words[3:6] != ["how", "much", "is"]:
        raise ValueError(f"not a task with a tool: {prompt!r}")
    operation = next((name for name, word, _ in _OPERATIONS if word == words[7]), None)
    if operation is None:
        raise ValueError(f"not a task with a tool: {prompt!r}")
    return {"name": "calculator", "arguments": {"operation": operation, "a": int(words[6]), "b": int(words[8])}}


def verify_call(prompt: str, reply: str) -> bool:
    """Whether a reply is the call as a JSON object with `name` and `arguments`, and nothing else.

    >>> prompt = "Use the calculator: how much is 3 times 4?"
    >>> verify_call(prompt, '{"name":"calculator","arguments":{"b":4,"a":3,"operation":"multiply"}}')
    True
    >>> verify_call(prompt, '{"name":"calculator","arguments":{"b":4,"a":3.0,"operation":"multiply"}}')
    False

    Args:
        prompt: Prompt of the task.
        reply: Text of the reply.
    """
    return replies_call(reply, call_of(prompt))
