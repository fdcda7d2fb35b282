"""A server of the tests, in a thread of their process."""

import contextlib
import threading
from collections.abc import Generator
from typing import Any

from lazarus_models.serving import ServeConfig, Server


@contextlib.contextmanager
def running(lm: Any, name: str = "stories", **settings: Any) -> Generator[Server]:
    """A server on any free port.

    Args:
        lm: The loaded model.
        name: Name of the model for clients.
        settings: Fields of `ServeConfig`.
    """
    server = Server(lm, name, ServeConfig(port=0, **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
