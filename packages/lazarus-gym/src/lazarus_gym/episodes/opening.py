"""The environments that training opens by a name: those of this package, and OpenEnv servers by their address."""

from lazarus_gym.environments import (
    JailedEnvironment,
    MathsEnvironment,
    PuzzleEnvironment,
    ToolCallEnvironment,
    make_environment,
)
from lazarus_gym.openenv import OpenEnvEnvironment


def open_environment(
    name: str,
) -> PuzzleEnvironment | MathsEnvironment | ToolCallEnvironment | JailedEnvironment | OpenEnvEnvironment:
    """An environment by its name. A server is connected to by the first `reset`.

    >>> open_environment("lights_out").name
    'lights_out'
    >>> open_environment("ws://127.0.0.1:8000?environment=sudoku").name
    'ws://127.0.0.1:8000/ws?environment=sudoku'

    Args:
        name: As of `make_environment`, or the address of an OpenEnv server, `ws://HOST:PORT` or `http://HOST:PORT`.

    Raises:
        EnvironmentUseError: There is no such environment (LG-E130).
        OpenEnvError: The address is no such address (LG-E170).
        JailError: The worker for reasoning-gym cannot start (LG-E133).
    """
    return OpenEnvEnvironment(name) if "://" in name else make_environment(name)
