"""The tool-call tasks as an environment: the first action is the call of the calculator as JSON."""

import json
from typing import Any

from lazarus_gym.environments.single_turn.one_question import OneQuestion
from lazarus_gym.tasks.maths import Task
from lazarus_gym.tasks.questions import Kind
from lazarus_gym.tasks.tool_calls import CALCULATOR, call_of, verify_call

_FORM = "the call as a JSON object with `name` and `arguments`"


class ToolCallEnvironment(OneQuestion):
    """One question an episode that a call of the calculator solves."""

    name = "tool_calls"
    tasks: tuple[Kind, ...] = ("calculator_call",)
    form = _FORM

    @staticmethod
    def text_of(task: Task) -> str:
        """The text of a question, with the tool's schema."""
        schema = json.dumps(CALCULATOR["function"], separators=(",", ":"))
        return f"Tool: {schema}\n{task.prompt}\nReply with {_FORM} and nothing else."

    def judge(self, task: Task, action: str) -> tuple[bool, dict[str, Any]]:
        """Whether an answer is the right call.

        Args:
            task: The question.
            action: The call.
        """
        return verify_call(task.prompt, action), {}

    def answer(self, task: Task) -> str:
        """The right call."""
        return json.dumps(call_of(task.prompt))
