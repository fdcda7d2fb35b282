"""The command `lazarus gym serve`."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lazarus_core.console import say
from lazarus_core.reasons import plain_reason

if TYPE_CHECKING:
    from lazarus_gym.servers import OpenEnvServerConfig, PuzzleServerConfig

PUZZLE_PORT, OPENENV_PORT = 8024, 8000


def serve(
    protocol: Annotated[
        Literal["puzzle", "openenv"],
        typer.Option("--protocol", help="`puzzle`: lines of text; `openenv`: JSON over WebSocket and HTTP."),
    ] = "puzzle",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            help="Port; 0 takes a free one [default: 8024 for puzzle, 8000 for openenv].",
            min=0,
            max=65_535,
        ),
    ] = None,
    telnet_port: Annotated[
        int | None,
        typer.Option("--telnet-port", help="For puzzle: also serve telnet on this port.", min=0, max=65_535),
    ] = None,
    websocket_port: Annotated[
        int | None,
        typer.Option(
            "--websocket-port", help="For puzzle: also serve a WebSocket at /ws on this port.", min=0, max=65_535
        ),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", help="For openenv: environment of resets that name none [default: sudoku]."),
    ] = None,
    max_connections: Annotated[int, typer.Option("--max-connections", help="Connections at once, a port.")] = 100,
    idle: Annotated[float, typer.Option("--idle", help="Seconds after which a silent connection is closed.")] = 300.0,
) -> None:
    """Serve the embedded environments to puzzle clients or OpenEnv clients until Ctrl-C.

    Example: --port 8024
    Example: --protocol openenv --port 8000 --environment sudoku
    """
    limits = {"host": host, "max_connections": max_connections, "idle_s": idle}
    if protocol == "puzzle":
        if environment is not None:
            raise typer.BadParameter("--environment is for --protocol openenv")
        ports = {"tcp": PUZZLE_PORT if port is None else port, "telnet": telnet_port, "websocket": websocket_port}
        work = _puzzles(
            [_puzzle_config(**limits, transport=kind, port=of) for kind, of in ports.items() if of is not None]
        )
    else:
        if telnet_port is not None or websocket_port is not None:
            raise typer.BadParameter("--telnet-port and --websocket-port are for --protocol puzzle")
        chosen = {} if environment is None else {"environment": environment}
        work = _openenv(_openenv_config(**limits, port=OPENENV_PORT if port is None else port, **chosen))
    with suppress(KeyboardInterrupt):
        asyncio.run(work)


async def _puzzles(configs: "list[PuzzleServerConfig]") -> None:
    from lazarus_gym.servers import serve_puzzles

    async with AsyncExitStack() as stack:
        for config in configs:
            listening = await stack.enter_async_context(serve_puzzles(config))
            how = "" if config.transport == "tcp" else f" over {config.transport}"
            say(f"puzzles{how} on {config.host}:{listening}; stop with Ctrl-C")
        await asyncio.Event().wait()


async def _openenv(config: "OpenEnvServerConfig") -> None:
    from lazarus_gym.servers import serve_openenv

    async with serve_openenv(config) as listening:
        host = f"[{config.host}]" if ":" in config.host else config.host
        say(f"environments on ws://{host}:{listening}/ws; stop with Ctrl-C")
        await asyncio.Event().wait()


def _puzzle_config(**settings: Any) -> "PuzzleServerConfig":
    from lazarus_gym.servers import PuzzleServerConfig

    return _checked(PuzzleServerConfig, settings)


def _openenv_config(**settings: Any) -> "OpenEnvServerConfig":
    from lazarus_gym.servers import OpenEnvServerConfig

    return _checked(OpenEnvServerConfig, settings)


def _checked(kind: Any, settings: dict[str, Any]) -> Any:
    """The settings of a server; a wrong one is an error of one line."""
    from pydantic import ValidationError

    from lazarus_gym.errors import EpisodeError

    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise EpisodeError(f"`{first['loc'][0]}`: {plain_reason(first['msg'])}", "LG-E155") from error
