"""An OpenEnv server as a worker of an audit: tasks are its first observations, rewards those of its steps.

The server is another process, maybe on another machine, so what it executes cannot be seen; a canary file shows only where
it shares this file system. Where the server names an environment of this package, the solution of ours is the right answer.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any

from lazarus_gym.environments import ENVIRONMENTS, GAMES, make_environment
from lazarus_gym.errors import OpenEnvError
from lazarus_gym.jail import JailResult, Protections
from lazarus_gym.openenv import OpenEnvConfig, OpenEnvEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = 1000
"""Distance of the seeds of training and evaluation."""
_MAX_ACTIONS = 400
_REFUSED = "LG-E175"
"""Code of a server that answers with an error."""
_NONE = Protections(network="none", processes="none", files="none", memory="none")


class OpenEnvWorker:
    """The functions of an audit for an OpenEnv server.

    Args:
        config: Where the server is.
    """

    def __init__(self, config: OpenEnvConfig) -> None:
        self._config = config
        self._environment: OpenEnvEnvironment | None = None

    def __enter__(self) -> "OpenEnvWorker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def protections(self) -> Protections:
        """None: the server is not ours to confine."""
        return _NONE

    @property
    def process_id(self) -> int | None:
        """A number while there is a connection."""
        return None if self._environment is None else id(self._environment)

    def close(self) -> None:
        """Ends the connection."""
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.close()

    def call(
        self, target: str, *args: Any, answer: str | None = None, marker: str = "", trusts_text: bool = False
    ) -> JailResult:
        """Calls a function of the audit.

        Args:
            target: `names`, `item`, `score` or `fresh_items`.
            args: Its arguments.
            answer: Not used.
            marker: Not used.
            trusts_text: Not used.

        Raises:
            OpenEnvError: There is no server (LG-E171 to LG-E174).
        """
        functions: dict[str, Callable[..., Any]] = {
            "names": self._names,
            "item": self._item,
            "score": self._score,
            "fresh_items": self._fresh_items,
        }
        try:
            return JailResult("ok", functions[target](*args))
        except OpenEnvError as error:
            self.close()
            if target == "names":  # not a fault of a task: there is no server
                raise
            return JailResult("aborted", reason=error.message, is_crash=error.code == _REFUSED)

    def _names(self) -> list[str]:
        self._connected()
        return [self._config.environment or self._config.address]

    def _item(self, name: str, seed: int, index: int) -> dict[str, Any]:
        question = self._reset(seed, index)
        return {"question": question, "answer": self._solution(question, seed, index), "solutions": None, "wrong": {}}

    def _score(self, name: str, seed: int, index: int, answer: str) -> float:
        self._reset(seed, index)
        environment, total = self._connected(), 0.0
        is_game = self._config.environment in GAMES
        actions = answer.split("\n") if is_game else [answer]
        for action in islice(actions, _MAX_ACTIONS):
            step = environment.step(action)
            total += step.reward
            if step.done or step.truncated:
                break
        return total

    def _fresh_items(self, name: str, seed: int, indices: list[int]) -> list[dict[str, Any]]:
        return [{"question": self._reset(seed, index), "answer": ""} for index in indices]

    def _reset(self, seed: int, index: int) -> str:
        return self._connected().reset(seed=seed * _STEP + index).text

    def _connected(self) -> OpenEnvEnvironment:
        if self._environment is None:
            self._environment = OpenEnvEnvironment(self._config)
            self._environment.connect()
        return self._environment

    def _solution(self, question: str, seed: int, index: int) -> str:
        """Our solution, if the server asks what our environment of the same name and seed asks."""
        name = self._config.environment
        if name not in ENVIRONMENTS:
            return ""
        environment = make_environment(name)
        if environment.reset(seed=seed * _STEP + index).text != question:
            return ""
        return "\n".join(environment.solution())
