"""Settings of the server: address, access, and limits of the resources that a client can use."""

import ipaddress
import re
from dataclasses import dataclass, field

from lazarus_models.errors import ServingError

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
"""An origin as a browser sends it: scheme, name in lower case, and a port unless it is the scheme's own."""


@dataclass(frozen=True)
class ServeConfig:
    """Settings of the server.

    Raises:
        ServingError: The key cannot be sent in a header, or the server would be open to the network without a key.
    """

    host: str = "127.0.0.1"
    """Address or host name to listen on."""
    port: int = 8080
    """Port to listen on; 0 for any free port."""
    api_key: str | None = field(default=None, repr=False)
    """The token that clients must send as `Authorization: Bearer TOKEN`; None for no key."""
    no_key: bool = False
    """Allows a `host` beyond the loopback interface without an `api_key`."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask the server, such as `https://app.example`; `*` for every one, which needs a key."""
    max_body_bytes: int = 1 << 20
    """Largest body of a request, in bytes."""
    max_new_tokens: int = 2048
    """Largest number of new tokens of an answer, also the default of requests."""
    max_requests: int = 64
    """Largest number of requests in progress, including waiting ones; further requests get status 429."""
    max_connections: int = 256
    """Largest number of open connections. A new one replaces the oldest one without a complete request."""
    batch_size: int = 8
    """Largest number of texts in the batch."""
    system: str | None = None
    """System message of conversations without one of their own; None for none. Completion requests have none."""
    is_exact: bool = False
    """Computes each text by itself, so that no bit of an answer depends on other requests."""
    request_timeout_s: float = 20.0
    """Longest time from the first byte of a request to its last one."""
    idle_timeout_s: float = 30.0
    """Time that a connection stays open after an answer, without a new request."""
    write_timeout_s: float = 30.0
    """Time without progress after which a client that does not read its answer is disconnected."""
    grace_s: float = 8.0
    """Time that answers in progress have to finish once the server stops; below Docker's 10 s before SIGKILL."""

    def __post_init__(self) -> None:
        _check_key(self.api_key)
        _check_origins(self.cors_origins, has_key=self.api_key is not None)
        if self.api_key is None and not self.no_key and not is_loopback(self.host):
            raise ServingError(
                f"`host` {self.host!r} opens the server to the network without a key; "
                "set `api_key`, or `no_key` to allow it",
                "LM-E160",
            )

    @property
    def key_bytes(self) -> bytes | None:
        """The key as it is sent: UTF-8, or the bytes that the shell gave."""
        return None if self.api_key is None else _bytes_of(self.api_key)


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's loopback interface.

    >>> [is_loopback(name) for name in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "localhost.example")]
    [True, True, True, False, False]
    """
    address = ip_address(name)
    return name.lower() == "localhost" if address is None else address.is_loopback


def ip_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in a text; None for a host name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _check_key(key: str | None) -> None:
    if key is None:
        return
    if not key.strip():
        raise ServingError("`api_key` is empty, so everyone could use it; is the variable unset?", "LM-E160")
    if key != key.strip() or any(ord(character) < 0x20 or ord(character) == 0x7F for character in key):
        raise ServingError(
            "`api_key` begins or ends with a space, or contains a control character; no HTTP header can carry it",
            "LM-E160",
        )


def _check_origins(origins: tuple[str, ...], *, has_key: bool) -> None:
    for origin in origins:
        if origin == "*":
            if not has_key:
                raise ServingError(
                    "`cors_origins` '*' lets every web page use a server without a key; name the origins, or set `api_key`",
                    "LM-E263",
                )
        elif not ORIGIN.fullmatch(origin):
            raise ServingError(
                f"`cors_origins` {origin[:100]!r} is not an origin; give scheme, name and port only, "
                "such as https://app.example or http://localhost:3000",
                "LM-E263",
            )


def _bytes_of(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
