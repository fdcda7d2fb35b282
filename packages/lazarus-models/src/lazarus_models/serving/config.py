"""Settings of the server: where it listens, who may ask, and the limit of every resource that a client can hold."""

import ipaddress
from dataclasses import dataclass, field

from lazarus_models.errors import ServingError


@dataclass(frozen=True)
class ServeConfig:
    """Where to listen and what to allow.

    Raises:
        ServingError: The key cannot be sent in a header, or the server would be open to the network without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any free one."""
    api_key: str | None = field(default=None, repr=False)
    """The token that clients must send as `Authorization: Bearer TOKEN`; None for no key."""
    no_key: bool = False
    """Allows a `host` beyond the loopback interface without an `api_key`."""
    max_body_bytes: int = 1 << 20
    """Bytes of a request's body, at most."""
    max_new_tokens: int = 2048
    """Bound of every answer, and the default where a request names none."""
    max_requests: int = 64
    """Requests in progress, waiting ones included; further ones get status 429."""
    max_connections: int = 256
    """Open connections, at most. A new one replaces the oldest one that has not sent a whole request."""
    batch_size: int = 8
    """Texts computed together."""
    request_timeout_s: float = 20.0
    """Time from the first byte of a request to its last one."""
    idle_timeout_s: float = 30.0
    """Time that a connection stays open after an answer, without a new request."""
    write_timeout_s: float = 30.0
    """Time without progress after which a client that does not read its answer is disconnected."""
    grace_s: float = 8.0
    """Time that answers in progress have to finish once the server stops; below Docker's 10 s before SIGKILL."""

    def __post_init__(self) -> None:
        _check_key(self.api_key)
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
    """The address that a text spells; None for a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _check_key(key: str | None) -> None:
    if key is None:
        return
    if not key.strip():
        raise ServingError("`api_key` is empty, so anybody could present it; is the variable unset?", "LM-E160")
    if key != key.strip() or any(ord(character) < 0x20 or ord(character) == 0x7F for character in key):
        raise ServingError(
            "`api_key` begins or ends with a space, or holds a control character: no HTTP header can carry it",
            "LM-E160",
        )


def _bytes_of(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
