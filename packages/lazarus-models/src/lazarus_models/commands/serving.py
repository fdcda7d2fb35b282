"""`serve`: a model behind OpenAI's interface."""

from pathlib import Path
from typing import Annotated

import typer

from lazarus_models.commands.options import Adapter, AnyBase, Model, load_model
from lazarus_plan.console import say


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
) -> None:
    """Serve a model behind OpenAI's interface, until Ctrl-C or SIGTERM."""
    import signal
    import threading

    from lazarus_models.errors import GenerationError
    from lazarus_models.serve import ServeConfig, Server

    config = ServeConfig(
        host=host,
        port=port,
        api_key=api_key,
        max_body_bytes=max_body_bytes,
        max_new_tokens=max_tokens,
        max_requests=max_requests,
        batch_size=batch_size,
    )
    lm = load_model(model, adapter, any_base=any_base)
    try:
        server = Server(lm, Path(model).name, config)
    except OSError as error:
        raise GenerationError(
            f"cannot listen at {host}:{port}: {error.strerror}; give another `--host` or `--port`", "LM-E148"
        ) from error

    def stop(signum: int, frame: object) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for the loop that runs here

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f"{server.name} at {server.address}/v1; Ctrl-C ends it")
    server.serve_forever()
    server.close()
    say("stopped; every answer on its way was finished")
