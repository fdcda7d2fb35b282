"""The errors of OpenEnv's clients."""

from lazarus_gym.errors import OpenEnvError
from lazarus_gym.openenv.messages import Refused


def not_reached(place: str, error: BaseException) -> OpenEnvError:
    """No connection.

    Args:
        place: Address of the server.
        error: What went wrong.
    """
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OpenEnvError(
        f"cannot connect to {place} ({words}): start an OpenEnv server there, or correct the address", "LG-E171"
    )


def too_slow(place: str, what: str, timeout_s: float) -> OpenEnvError:
    """No reply in time.

    Args:
        place: Address of the server.
        what: What did not come.
        timeout_s: The limit in seconds.
    """
    return OpenEnvError(
        f"{place}: {what} did not come in {timeout_s:g} s: raise the time limit, or look at the server", "LG-E172"
    )


def closed(place: str, reason: str) -> OpenEnvError:
    """A closed connection.

    Args:
        place: Address of the server.
        reason: Why it is closed.
    """
    return OpenEnvError(f"{place}: the connection was closed ({reason}): call `reset` for a new episode", "LG-E173")


def refused(place: str, kind: str, error: Refused) -> OpenEnvError:
    """An error that the server reported.

    Args:
        place: Address of the server.
        kind: The request.
        error: The server's code and sentence.
    """
    return OpenEnvError(f"{place}: the server refused `{kind}`: {error.code}: {error.message}", "LG-E175")


def misused() -> OpenEnvError:
    """No episode is in progress."""
    return OpenEnvError("no episode has begun: call `reset` first", "LG-E177")
