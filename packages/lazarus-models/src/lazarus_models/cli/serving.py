"""The command `serve`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.console import TERMINATED, progress, say, show_line, show_table, warn
from lazarus_models.cli.options import Adapter, AnyBase, Model, load_model
from lazarus_models.cli.system import System, SystemFile, system_message

if TYPE_CHECKING:
    from lazarus_models.errors import ServingError
    from lazarus_models.loading.loaded_model import LoadedModel
    from lazarus_models.serving import ServeConfig, Server


def serve(
    model: Model,
    adapter: Adapter = None,
    any_base: AnyBase = False,
    host: Annotated[str, typer.Option("--host", help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Listen on this port. 0 means any free port.")
    ] = 8080,
    system: System = None,
    system_file: SystemFile = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", envvar="LAZARUS_API_KEY", help="Require this key in every request."),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Limit every answer to this many tokens.")
    ] = 2048,
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, help="Accept at most this many requests at once.")
    ] = 64,
    max_body_bytes: Annotated[
        int, typer.Option("--max-body-bytes", min=1, help="Accept request bodies of at most this many bytes.")
    ] = 1 << 20,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Generate at most this many texts together.")
    ] = 8,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Allow a --host beyond this machine without an --api-key.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="ORIGIN",
            help="Allow web pages of this origin, such as http://localhost:3000. '*' needs an --api-key.",
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Compute each text by itself: no bit of an answer depends on other requests. Slower when there are many.",
        ),
    ] = False,
    self_test: Annotated[
        int | None,
        typer.Option(
            "--self-test",
            min=1,
            max=10_000,
            metavar="N",
            help="Do not serve. Ask N mixed requests alone and all at once, compare the tokens, and exit with 1 if any differ.",
        ),
    ] = None,
) -> None:
    """Serve a model with OpenAI's HTTP interface, until Ctrl-C or SIGTERM.

    Example: -m smollm2-360m --port 8080
    """
    from lazarus_models.loading.loaded_model import name_of

    config = _config(
        host=host,
        port=port,
        api_key=_key(api_key),
        no_key=no_key,
        max_body_bytes=max_body_bytes,
        max_new_tokens=max_tokens,
        max_requests=max_requests,
        batch_size=batch_size,
        cors_origins=tuple(cors_origin or ()),
        is_exact=exact,
        system=system_message(system, system_file),
    )
    if self_test is not None:
        _test(load_model(model, adapter, any_base=any_base), self_test, config)
        return
    _run(load_model(model, adapter, any_base=any_base), name_of(Path(model)), config)


def _run(lm: "LoadedModel", name: str, config: "ServeConfig") -> None:
    """Serves until a signal arrives."""
    import signal

    from lazarus_models.errors import GenerationError, ServingError

    Server, _ = _parts()
    try:
        server = Server(lm, name, config)
    except ServingError as error:
        raise _in_options(error) from error
    except OSError as error:
        raise GenerationError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; use another `--host` or `--port`",
            "LM-E148",
        ) from error
    signals: list[int] = []

    def stop(signum: int, frame: object) -> None:
        signals.append(signum)
        server.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f"serving {server.service.name} at {server.address}/v1; press Ctrl-C to stop")
    server.run()
    say(_farewell(server.unfinished))
    _end_as(signals)


def _test(lm: "LoadedModel", number: int, config: "ServeConfig") -> None:
    """Runs the self-test, prints its table, and exits with 1 if any answer differs."""
    from lazarus_models.serving.self_test import run_self_test, table

    with progress("self-test", total=2 * number, unit="answers") as advance:
        result = run_self_test(
            lm, number, batch_size=config.batch_size, is_exact=config.is_exact, on_done=lambda done: advance()
        )
    rows = list(table(result))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [
                f"{kind:<{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:4], strict=True)),
                place,
            ]
        )
        for kind, *numbers, place in rows
    ]
    show_table("\n".join(lines))
    show_line(
        f"{result.equal} of {number} equal, at most {config.batch_size} at once; "
        f"one by one {result.alone_s:.1f} s, at once {result.crowd_s:.1f} s"
    )
    if result.equal < number:
        if not config.is_exact:
            warn("rounding differs with the size of the batch; serve with --exact, which computes each text by itself")
        raise SystemExit(1)


def _parts() -> "tuple[type[Server], type[ServeConfig]]":
    from lazarus_models.errors import ServingError

    try:
        from lazarus_models.serving import ServeConfig, Server
    except ModuleNotFoundError as error:
        if error.name not in ("h11", "jiter", "starlette", "uvicorn"):
            raise
        raise ServingError(
            f"`serve` needs {error.name}; install the extra: uv pip install 'lazarus-models[serve]'",
            "LM-E161",
        ) from error
    return Server, ServeConfig


def _config(**settings: Any) -> "ServeConfig":
    """The settings; errors name command-line options instead of fields."""
    from lazarus_models.errors import ServingError

    _, ServeConfig = _parts()
    try:
        return ServeConfig(**settings)
    except ServingError as error:
        raise _in_options(error) from error


def _in_options(error: "ServingError") -> "ServingError":
    """The error with options in place of fields."""
    words = error.message
    for name in ("host", "api_key", "no_key", "cors_origins", "system"):
        words = words.replace(f"`{name}`", f"`--{name.removesuffix('s').replace('_', '-')}`")
    return type(error)(words, error.code)


def _key(given: str | None) -> str | None:
    """The key of the option or the variable; an empty variable is an empty key, not a missing one."""
    return os.environ.get("LAZARUS_API_KEY") if given is None else given


def _farewell(unfinished: int) -> str:
    if unfinished:
        return f"stopped; {unfinished} unfinished answers ended with an error"
    return "stopped; all answers in progress were finished"


def _end_as(signals: list[int]) -> None:
    """Exits with the code of the first signal: 130 for Ctrl-C, 143 for SIGTERM."""
    import signal

    if signals and signals[0] == signal.SIGTERM:
        raise SystemExit(TERMINATED)
    if signals:
        raise KeyboardInterrupt
