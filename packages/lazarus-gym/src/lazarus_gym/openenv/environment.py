"""An OpenEnv server as an environment of this process, without asyncio."""

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from lazarus_gym.errors import OpenEnvError
from lazarus_gym.interface import Observation, State, Step
from lazarus_gym.openenv.address import OpenEnvAddress, OpenEnvConfig
from lazarus_gym.openenv.failures import closed, misused, not_reached, refused, too_slow
from lazarus_gym.openenv.messages import ActionForm, Refused, read_reply, request, state_of, step_of
from lazarus_gym.openenv.schema import find_action_form


class OpenEnvEnvironment:
    """An OpenEnv server with `reset`, `step` and `state` as of a local environment. Use it as `with`, or call `close`.

    `reset` connects, and connects again after an error of the connection.

    Args:
        config: Where the server is, or its address alone.

    Raises:
        OpenEnvError: The address is no such address (LG-E170).
    """

    def __init__(self, config: OpenEnvConfig | str) -> None:
        self.config = OpenEnvConfig(address=config) if isinstance(config, str) else config
        self.address = OpenEnvAddress.parse(self.config.address)
        self._form = ActionForm(self.config.action_field) if self.config.action_field else None
        self._connection: Any = None
        self._open_connections = ExitStack()
        self._first: Observation | None = None
        self._last: Step | None = None

    def __enter__(self) -> Self:
        """Connects.

        Raises:
            OpenEnvError: No attempt reached the server.
        """
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the session and closes the connection."""
        self.close()

    @property
    def name(self) -> str:
        """Name of the environment: the one asked for, or the address."""
        return self.config.environment or self.address.websocket

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of tasks; a server need not report any, so this is empty and `reset` takes any name."""
        return ()

    def connect(self) -> None:
        """Connects, with further attempts after growing pauses; an open connection stays.

        Raises:
            OpenEnvError: No attempt reached the server (LG-E171, LG-E172).
        """
        for attempt in range(self.config.retries + 1):
            if self._connection is not None:
                return
            try:
                self._connection = self._open()
            except OpenEnvError:
                if attempt == self.config.retries:
                    raise
                time.sleep(self.config.backoff_s * 2**attempt)

    def _open(self) -> Any:
        from websockets.exceptions import InvalidHandshake, InvalidURI
        from websockets.sync.client import connect

        config, place = self.config, self.address.websocket
        try:  # version 17 of websockets wants a `with`, version 15 allows it
            return self._open_connections.enter_context(
                connect(
                    place,
                    max_size=config.max_message_bytes,
                    open_timeout=config.connect_timeout_s,
                    close_timeout=1,
                    proxy=None,
                )
            )
        except TimeoutError:
            raise too_slow(place, "the connection", config.connect_timeout_s) from None
        except (OSError, EOFError, InvalidHandshake, InvalidURI) as error:
            raise not_reached(place, error) from error

    def close(self) -> None:
        """Ends the session and closes the connection; a second call does nothing."""
        from websockets.exceptions import ConnectionClosed

        connection, self._connection, self._first = self._connection, None, None
        if connection is None:
            return
        try:
            connection.send(request("close"))
            self._open_connections.close()
        except (TimeoutError, OSError, ConnectionClosed):
            return

    def reset(self, *, seed: int, task: str | None = None, environment: str | None = None) -> Observation:
        """Begins an episode.

        Args:
            seed: Seed of the task; servers that have none ignore it.
            task: Name of a task; None for the server's own choice.
            environment: Name of an environment; None for that of the settings.

        Raises:
            OpenEnvError: The connection failed (LG-E171 to LG-E174), or the server refused it (LG-E175).
        """
        self.connect()
        chosen = environment or self.config.environment
        asked = Observation(text="", environment=chosen or self.name, task=task or "", seed=seed)
        data: dict[str, Any] = {"seed": seed}
        if chosen is not None:
            data["environment"] = chosen
        if task is not None:
            data["task"] = task
        step = step_of(self.address.websocket, self._ask("reset", "observation", data), asked)
        self._first, self._last = step.observation, None
        return step.observation

    def step(self, action: str) -> Step:
        """Executes one action.

        Args:
            action: Its text; a JSON object where the server's action is no single text.

        Raises:
            OpenEnvError: No episode is in progress (LG-E177), the connection failed (LG-E172 to LG-E174), or the server refused
                the action (LG-E175).
        """
        first = self._begun()
        if self._form is None:
            self._form = find_action_form(self.address, self.config.connect_timeout_s)
        data = self._ask("step", "observation", self._form.action(action))
        self._last = step_of(self.address.websocket, data, first)
        return self._last

    def state(self) -> State:
        """Counters of the episode. What the server does not report is taken from the last step, or 0.

        Raises:
            OpenEnvError: As of `step`.
        """
        first = self._begun()
        return state_of(self._ask("state", "state"), self._last, first)

    def _begun(self) -> Observation:
        if self._first is None:
            raise misused()
        return self._first

    def _ask(self, kind: str, expected: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        place, timeout_s, connection = self.address.websocket, self.config.timeout_s, self._connection
        if connection is None:
            raise closed(place, "by an earlier error")
        self._connection = None  # after an error, replies no longer match requests
        is_open = True
        try:
            try:
                connection.send(request(kind, data))
            except ConnectionClosed:  # the server may have said why
                is_open = False
            found = read_reply(place, expected, connection.recv(timeout=timeout_s))
            self._connection = connection
        except TimeoutError:
            raise too_slow(place, f"the reply to `{kind}`", timeout_s) from None
        except ConnectionClosed as error:
            raise closed(place, str(error)) from error
        except Refused as error:
            self._connection = connection if is_open else None
            raise refused(place, kind, error) from error
        finally:
            if self._connection is None:
                self._first = None
                self._open_connections.close()
        return found
