"""The messages of OpenEnv's WebSocket as JSON, read strictly and turned into the results of `lazarus_gym.interface`.

A request is `{"type": "reset"|"step"|"state"|"close", "data": {...}}`. A reply is `observation` (with `observation`, `reward` and
`done`), `state` or `error`. What an observation contains depends on the server, so its text is looked for.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_gym.errors import OpenEnvError
from lazarus_gym.interface import Observation, State, Step

TEXT_FIELDS = ("text", "prompt", "question", "message", "content", "output", "response", "result", "echoed_message")
"""Members of an observation that are its text, in the order in which they are looked for."""
MAX_INFO = 100
"""Members of `Step.info`."""


class Refused(Exception):  # an answer, not an error of this package
    """The server replied with an error.

    Args:
        code: Its word for the error.
        message: Its sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class ActionForm:
    """How a text becomes an action of a server.

    Args:
        field: Member of the action that takes the text; None where the action has no single text, so that the text must be a
            JSON object.
    """

    field: str | None

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any]) -> "ActionForm":
        """The form that the JSON schema of an action has.

        >>> ActionForm.of_schema({"properties": {"message": {"type": "string"}, "metadata": {"type": "object"}}})
        ActionForm(field='message')
        """
        properties: Any = schema.get("properties")
        if not isinstance(properties, dict):
            return cls(None)
        members = cast("dict[str, Any]", properties)
        texts = [name for name, each in members.items() if isinstance(each, dict) and each.get("type") == "string"]  # pyright: ignore[reportUnknownMemberType]: of JSON
        required: Any = schema.get("required")
        needed = [name for name in texts if isinstance(required, list) and name in required]
        return cls(next((some[0] for some in (needed, texts) if len(some) == 1), None))

    def action(self, text: str) -> dict[str, Any]:
        """The action of a text.

        Raises:
            OpenEnvError: The text is no JSON object, and the action has no single text (LG-E176).
        """
        if self.field is not None:
            return {self.field: text}
        try:
            return parse_object(text.encode())
        except (MalformedLine, UnicodeEncodeError) as error:
            raise OpenEnvError(
                "the server's action has no single text: give the action as a JSON object, or set `action_field`",
                "LG-E176",
            ) from error


def request(kind: str, data: Mapping[str, Any] | None = None) -> str:
    """The text of a request.

    Args:
        kind: reset, step, state or close.
        data: Its parameters; None for requests that have none.
    """
    members: dict[str, Any] = {"type": kind}
    if data is not None:
        members["data"] = data
    return json.dumps(members)


def read_reply(place: str, kind: str, content: str | bytes) -> dict[str, Any]:
    """The data of a reply.

    Args:
        place: Address of the server, for messages.
        kind: `observation` or `state`.
        content: The message.

    Raises:
        Refused: It is an error of the server.
        OpenEnvError: It is something else (LG-E174).
    """
    members = read_object(place, content)
    data: Any = members.get("data")
    if not isinstance(data, dict):
        raise _unknown(place, "a message without `data`")
    found = cast("dict[str, Any]", data)
    if members.get("type") == "error":
        raise Refused(str(found.get("code", ""))[:100], str(found.get("message", ""))[:1000])
    if members.get("type") != kind:
        raise _unknown(place, f"a message of type {str(members.get('type'))[:50]!r} instead of {kind!r}")
    return found


def read_object(place: str, content: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Args:
        place: Address of the server, for messages.
        content: The object as text.

    Raises:
        OpenEnvError: It is something else (LG-E174).
    """
    try:
        return parse_object(content.encode() if isinstance(content, str) else content)
    except (MalformedLine, UnicodeEncodeError) as error:
        raise _unknown(place, "a message that is no JSON object") from error


def step_of(place: str, data: Mapping[str, Any], before: Observation) -> Step:
    """The step that a reply describes.

    Args:
        place: Address of the server, for messages.
        data: Data of the reply.
        before: An observation with the environment, task and seed that were asked for.

    Raises:
        OpenEnvError: `reward` or `done` has another type (LG-E174).
    """
    reward, is_over = data.get("reward"), data.get("done", False)
    if not isinstance(is_over, bool):
        raise _unknown(place, "a `done` that is neither true nor false")
    if reward is not None and (not isinstance(reward, int | float) or not math.isfinite(reward)):
        raise _unknown(place, "a `reward` that is no finite number")
    info = _metadata(data)
    is_truncated = is_over and info.get("truncated") is True
    scalars = {name: each for name, each in info.items() if isinstance(each, bool | int | float | str)}
    return Step(
        observation=observation_of(data, before),
        reward=float(reward or 0),
        done=is_over and not is_truncated,
        truncated=is_truncated,
        info=dict(list(scalars.items())[:MAX_INFO]),
    )


def observation_of(data: Mapping[str, Any], before: Observation) -> Observation:
    """The observation of a reply.

    Args:
        data: Data of the reply.
        before: An observation with the environment, task and seed that were asked for.
    """
    seen: Any = data.get("observation")
    if not isinstance(seen, dict):
        return before.model_copy(update={"text": seen if isinstance(seen, str) else _json(seen), "grid": None})
    members = cast("dict[str, Any]", seen)
    text = next((members[name] for name in TEXT_FIELDS if isinstance(members.get(name), str)), None)
    update: dict[str, Any] = {
        "text": _json({name: each for name, each in members.items() if name != "metadata"}) if text is None else text,
        "grid": _grid(members.get("grid")),
    }
    for name, kind in (("environment", str), ("task", str), ("seed", int)):
        if type(members.get(name)) is kind:
            update[name] = members[name]
    commands: Any = members.get("commands")
    if isinstance(commands, list):
        update["commands"] = tuple(each for each in cast("list[Any]", commands) if isinstance(each, str))
    return before.model_copy(update=update)


def state_of(data: Mapping[str, Any], last: Step | None, before: Observation) -> State:
    """The state that a reply describes. What a server does not report is taken from the last step, or 0.

    Args:
        data: Data of the reply.
        last: The last step of the episode; None before the first.
        before: The observation of the reset.
    """

    def number(name: str, default: float) -> Any:
        value = data.get(name)
        return (
            value
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            else default
        )

    def flag(name: str, default: bool) -> bool:
        value = data.get(name)
        return value if isinstance(value, bool) else default

    solved = flag("solved", last is not None and last.done and last.reward > 0)
    return State(
        environment=before.environment,
        task=before.task,
        seed=before.seed,
        moves=int(number("moves", number("step_count", 0))),
        invalid_moves=int(number("invalid_moves", 0)),
        hints_used=int(number("hints_used", 0)),
        reference_moves=int(number("reference_moves", 0)),
        progress=float(number("progress", 1.0 if solved else 0.0)),
        difficulty=float(number("difficulty", 0.0)),
        solved=solved,
        forfeited=flag("forfeited", False),
        done=flag("done", last is not None and last.done),
        truncated=flag("truncated", last is not None and last.truncated),
    )


def _metadata(data: Mapping[str, Any]) -> dict[str, Any]:
    """`metadata` of a reply, or of its observation."""
    seen: Any = data.get("observation")
    inner: Any = cast("dict[str, Any]", seen).get("metadata") if isinstance(seen, dict) else None
    found: Any = data.get("metadata")
    for each in (found, inner):
        if isinstance(each, dict):
            return cast("dict[str, Any]", each)
    return {}


def _grid(value: Any) -> tuple[tuple[int, ...], ...] | None:
    """A board of whole numbers; None for anything else."""
    if not isinstance(value, list) or not all(isinstance(row, list) for row in cast("list[Any]", value)):
        return None
    rows = cast("list[list[Any]]", value)
    return tuple(map(tuple, rows)) if all(type(cell) is int for row in rows for cell in row) else None


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _unknown(place: str, what: str) -> OpenEnvError:
    return OpenEnvError(f"{place}: the server sent {what}: is it an OpenEnv server?", "LG-E174")
