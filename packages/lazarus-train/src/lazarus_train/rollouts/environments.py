"""Environments that answer the model: the protocol, installed environments, and the tokens of their observations.

A package provides environments by an entry point of the group `lazarus.environments`: a function that makes the environment of a
name. Its name is the prefix of the setting, as in `gym:sudoku`; with one such package installed it may be left out.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Protocol

from lazarus_core.plugins import PluginGroup, near_name
from lazarus_tokenkit import ChatSample, Encoder, Message
from lazarus_train.errors import SetupError

GROUP = "lazarus.environments"
"""Entry-point group of environments."""
_PLACEHOLDER = "x"
"""Answer in the conversation whose end is looked for."""


class Environment(Protocol):
    """What a run needs from an environment. `lazarus_gym.Environment` is one. If it has a method `close`, that ends its session."""

    def reset(self, *, seed: int, task: str | None = None) -> Any:
        """Begins an episode; the result has `text`.

        Args:
            seed: Seed of the task.
            task: Name of a kind of task; None for the first.
        """
        ...

    def step(self, action: str) -> Any:
        """Executes one answer; the result has `observation.text`, `reward`, `done` and `truncated`."""
        ...


def environment_maker(name: str) -> Callable[[], Environment]:
    """A function that makes an environment of an installed package. Finding the package takes some milliseconds.

    Args:
        name: `PROVIDER:NAME`, or `NAME` alone if one package provides environments.

    Raises:
        SetupError: No package provides it.
    """
    known = sorted({entry.name for entry in entry_points(group=GROUP)})
    provider, colon, rest = name.partition(":")
    if not colon or (provider not in known and len(known) == 1):
        provider, rest = known[0] if len(known) == 1 else "", name
    plugin = PluginGroup(GROUP, "environment", "a function of a name", callable, SetupError, "LR-E251").load(provider)
    if plugin is None:
        names = f"; there are {', '.join(known)}" if known else ""
        raise SetupError(
            f"no package provides the environment {name!r}{near_name(provider, known)}{names}. Install lazarus-gym, or the package "
            "that provides it, and give its prefix, as in gym:sudoku",
            "LR-E250",
        )
    return partial(plugin.value, rest)


def close(environment: Environment) -> None:
    """Ends the session of an environment that has one, as a server's has."""
    end = getattr(environment, "close", None)
    if callable(end):
        end()


def following_ids(encoder: Encoder, observation: str, question: str = _PLACEHOLDER) -> list[int]:
    """Token ids between the end of the model's answer and its next answer: the observation as a message of the user.

    Args:
        encoder: Encoder of the training data.
        observation: Text of the environment.
        question: Text of the user's first message, which has no influence on the result.

    Raises:
        SetupError: The template changes an answer when a message follows it.
    """
    before = (Message("user", question), Message("assistant", _PLACEHOLDER))
    encoded = encoder.encode(ChatSample("0", tuple(before)))
    end = max(place for place, mask in enumerate(encoded.loss_mask) if mask) + 1
    whole = encoder.prompt([*before, Message("user", observation)])
    if whole[:end] != encoded.ids[:end]:
        raise SetupError(
            "the chat template changes an earlier answer when a message follows it, so a conversation with an environment "
            "cannot be trained; give another `template`, such as chatml",
            "LR-E253",
        )
    return whole[end:]
