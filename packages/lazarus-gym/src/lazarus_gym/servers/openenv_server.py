"""An OpenEnv server of the embedded environments. It needs the extra `serve` (uvicorn, Starlette)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.errors import GymError, WireError
from lazarus_gym.servers.openenv_session import check_choice

BACKLOG = 256
"""Length of the system's queue of connections."""


class OpenEnvServerConfig(BaseModel):
    """Where the server listens, what it offers, and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port; 0 takes a free one."""
    environment: str = Field(default="sudoku", max_length=200)
    """Environment of sessions and resets that name none."""
    task: str | None = Field(default=None, max_length=200)
    """Its task; None for the first."""
    max_connections: int = Field(default=100, ge=1, le=10_000)
    """Sessions at once; further ones are refused with an error."""
    idle_s: float = Field(default=300.0, gt=0)
    """Seconds without a message after which a session ends."""
    max_message_bytes: int = Field(default=1 << 20, ge=1000, le=1 << 26)
    """Longer messages end the connection."""


@asynccontextmanager
async def serve_openenv(config: OpenEnvServerConfig) -> AsyncGenerator[int]:
    """Context manager: a server, which runs while the block does. Yields its port.

    Args:
        config: Where it listens.

    Raises:
        GymError: The extra `serve` is not installed (LG-E153).
        EnvironmentUseError: There is no such environment (LG-E130) or task (LG-E131).
        WireError: The address cannot be used (LG-E146).
    """
    try:
        import uvicorn

        from lazarus_gym.servers.openenv_app import OpenEnvApp
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise GymError(
            "an OpenEnv server needs uvicorn and Starlette: install `lazarus-gym[serve]`", "LG-E153"
        ) from None
    check_choice(config.environment, config.task)

    class Server(uvicorn.Server):
        """uvicorn's server without its signal handlers, because the caller handles signals."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    app = OpenEnvApp(
        environment=config.environment,
        task=config.task,
        max_sessions=config.max_connections,
        idle_s=config.idle_s,
    )
    settings = uvicorn.Config(
        app.asgi,
        ws="websockets-sansio",
        ws_max_size=config.max_message_bytes,
        limit_concurrency=2 * config.max_connections + 100,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with _listen(config.host, config.port) as listening:
        server = Server(settings)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(0.005)
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(found[4][:2], family=found[0], backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise WireError(
            f"cannot listen on {host}:{port} ({words}): choose another `host` or `port`", "LG-E146"
        ) from error
