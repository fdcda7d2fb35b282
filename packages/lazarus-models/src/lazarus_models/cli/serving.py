"""`serve`: a model behind OpenAI's interface."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.console import TERMINATED, say
from lazarus_models.cli.options import Adapter, Model, load_model

if TYPE_CHECKING:
    from lazarus_models.serving import ServeConfig, Server
from lazarus_models.cli.options import AnyBase


def serve(
    model: Model,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any free one.")] = 8080,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar="LAZARUS_API_KEY", help="What requests must present.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer, at most.")] = 2048,
    max_requests: Annotated[int, typer.Option("--max-requests", min=1, help="On their way at once, at most.")] = 64,
    max_body_bytes: Annotated[int, typer.Option("--max-body-bytes", min=1, help="Of a request, at most.")] = 1 << 20,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed together.")] = 8,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Allow a --host beyond this machine without an --api-key.")
    ] = False,
) -> None:
    """Serve a model behind OpenAI's interface, until Ctrl-C or SIGTERM."""
    import signal

    Server, _ = _parts()
    config = _config(
        host=host,
        port=port,
        api_key=_key(api_key),
        no_key=no_key,
        max_body_bytes=max_body_bytes,
        max_new_tokens=max_tokens,
        max_requests=max_requests,
        batch_size=batch_size,
    )
    lm = load_model(model, adapter, any_base=any_base)
    try:
        server = Server(lm, Path(model).name, config)
    except OSError as error:
        from lazarus_models.errors import GenerationError

        raise GenerationError(
            f"cannot listen at {host}:{port}: {error.strerror}; give another `--host` or `--port`", "LM-E148"
        ) from error
    signals: list[int] = []

    def stop(signum: int, frame: object) -> None:
        signals.append(signum)
        server.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f"{server.service.name} at {server.address}/v1; Ctrl-C ends it")
    server.run()
    say(_farewell(server.unfinished))
    _end_as(signals)


def _parts() -> "tuple[type[Server], type[ServeConfig]]":
    from lazarus_models.errors import ServingError

    try:
        from lazarus_models.serving import ServeConfig, Server
    except ModuleNotFoundError as error:
        if error.name not in ("h11", "jiter", "starlette", "uvicorn"):
            raise
        raise ServingError(
            f"`serve` needs {error.name}, which the extra `serve` brings: uv pip install 'lazarus-models[serve]'",
            "LM-E161",
        ) from error
    return Server, ServeConfig


def _config(**settings: Any) -> "ServeConfig":
    """The settings; a refusal names the options."""
    from lazarus_models.errors import ServingError

    _, ServeConfig = _parts()
    try:
        return ServeConfig(**settings)
    except ServingError as error:
        words = error.message
        for name in ("host", "api_key", "no_key"):
            words = words.replace(f"`{name}`", f"`--{name.replace('_', '-')}`")
        raise ServingError(words, error.code) from error


def _key(given: str | None) -> str | None:
    """The key of the option or the variable; a variable that is set to nothing is an empty key, not none."""
    return os.environ.get("LAZARUS_API_KEY") if given is None else given


def _farewell(unfinished: int) -> str:
    if unfinished:
        return f"stopped; {unfinished} answers were not finished and ended with an error"
    return "stopped; every answer in progress was finished"


def _end_as(signals: list[int]) -> None:
    """Ends as the first signal ends a program: 130 for Ctrl-C, 143 for SIGTERM."""
    import signal

    if signals and signals[0] == signal.SIGTERM:
        raise SystemExit(TERMINATED)
    if signals:
        raise KeyboardInterrupt
