"""The address of an OpenEnv server, and the settings of its clients."""

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.errors import OpenEnvError

MAX_ADDRESS_CHARS = 2000
_SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}


class OpenEnvConfig(BaseModel):
    """Where an OpenEnv server is, and how long to wait for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    address: str = Field(max_length=MAX_ADDRESS_CHARS)
    """`ws://HOST:PORT`, `wss://`, `http://` or `https://`, with or without `/ws`; a query is sent along."""
    environment: str | None = Field(default=None, max_length=200)
    """Environment to ask for at each reset; None for the server's own choice. Servers of one environment ignore it."""
    action_field: str | None = Field(default=None, max_length=200)
    """Member of the action that takes the text; None to find it in the server's schema."""
    timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds for a reply."""
    connect_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds for an attempt to connect."""
    retries: int = Field(default=2, ge=0, le=20)
    """Further attempts to connect."""
    backoff_s: float = Field(default=0.2, ge=0, le=60)
    """Seconds before the second attempt; doubled for each further one."""
    max_message_bytes: int = Field(default=16 << 20, ge=1000, le=1 << 30)
    """Longer messages of the server end the connection."""


class OpenEnvAddress(NamedTuple):
    """The two addresses of a server.

    Args:
        websocket: Address of the WebSocket, such as `ws://127.0.0.1:8000/ws`.
        http: Address of the HTTP paths, without a slash at its end, such as `http://127.0.0.1:8000`.
    """

    websocket: str
    http: str

    @classmethod
    def parse(cls, text: str) -> "OpenEnvAddress":
        """Reads an address.

        >>> OpenEnvAddress.parse("http://localhost:8000")
        OpenEnvAddress(websocket='ws://localhost:8000/ws', http='http://localhost:8000')

        Raises:
            OpenEnvError: It is no such address (LG-E170).
        """
        try:
            parts = urlsplit(text.strip())
            scheme = _SCHEMES[parts.scheme]
            if not parts.hostname or parts.username is not None or parts.port == 0:
                raise ValueError
        except (KeyError, ValueError):
            raise OpenEnvError(
                f"{text[:100]!r} is no address of an OpenEnv server: give `ws://HOST:PORT` or `http://HOST:PORT`",
                "LG-E170",
            ) from None
        base = parts.path.rstrip("/").removesuffix("/ws").rstrip("/")
        query = urlencode(parse_qsl(parts.query, keep_blank_values=True))
        return cls(
            urlunsplit((scheme, parts.netloc, f"{base}/ws", query, "")),
            urlunsplit(("https" if scheme == "wss" else "http", parts.netloc, base, "", "")),
        )
