"""Refuses a template that leaves out members of a conversation: tools, tool calls, the reasoning of answers.

A model trained on such a text would not learn them. The text is compared with a second rendering without the members.
Equal texts mean that the template ignores them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.kinds import JSON, REASONING, Message
from lazarus_tokenkit.templates.render import ChatTemplate

DROPPED = "LT-E207"


class Rendered(NamedTuple):
    """A rendered conversation.

    Args:
        messages: The turns.
        tools: JSON schemas of the functions that the assistant may call.
        add_generation_prompt: Whether the header of the next assistant turn is added at the end.
        text: The rendered text.
    """

    messages: Sequence[Message]
    tools: Sequence[JSON]
    add_generation_prompt: bool
    text: str


def refuse_dropped_members(template: ChatTemplate, rendered: Rendered, first: int) -> None:
    """Refuses a template that ignores the tools, the tool calls, or the reasoning of every turn with loss.

    A template may ignore the reasoning of turns without loss: many formats drop it from earlier turns.

    Args:
        template: The template.
        rendered: The conversation and its text.
        first: Number of the first turn that may carry loss.

    Raises:
        TemplateError: The template ignores a member.
    """
    messages = rendered.messages
    if rendered.tools:
        _refuse_equal(template, rendered, rendered._replace(tools=()), "tools")
    if any(message.tool_calls for message in messages):
        without = [replace(message, tool_calls=()) for message in messages]
        _refuse_equal(template, rendered, rendered._replace(messages=without), "tool calls")
    if any(message.reasoning and message.has_loss for message in messages[first:]):
        without = [
            replace(message, reasoning=None) if turn >= first and message.has_loss else message
            for turn, message in enumerate(messages)
        ]
        _refuse_equal(template, rendered, rendered._replace(messages=without), "reasoning")


def _refuse_equal(template: ChatTemplate, rendered: Rendered, reduced: Rendered, name: str) -> None:
    try:
        text = template.render(
            reduced.messages, add_generation_prompt=rendered.add_generation_prompt, tools=reduced.tools
        )
    except TemplateError:
        return  # the template reads the members
    if text != rendered.text:
        return
    wayout = (
        f"use a template that reads {' or '.join(f'`{name}`' for name in REASONING)}, or remove it from the data"
        if name == "reasoning"
        else "use a template that renders them, such as `chatml-tools`"
    )
    raise TemplateError(f"template `{template.name}` leaves the {name} out; {wayout}", DROPPED)
