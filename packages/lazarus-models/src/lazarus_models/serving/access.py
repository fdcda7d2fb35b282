"""Access control: checks the headers Host and Origin and the key of a request before it is routed.

Without a key, any web page could reach the server through the user's browser: by a cross-site request, or by a host name that
resolves to 127.0.0.1 (DNS rebinding). So a server without a key accepts loopback names only, and bodies only with the content
type JSON, which a browser does not send to another site without a preflight request.
"""

import hmac
import re
from collections.abc import Iterable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lazarus_models.serving.config import ServeConfig, ip_address, is_loopback
from lazarus_models.serving.errors import Refused, error_response

MAX_HEADERS = 100
"""Largest number of header fields of a request, the limit of `http.server`."""
_AUTHORITY = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_ORIGIN = re.compile(r"https?://(?P<authority>[^/@]+)")


class Guard:
    """ASGI middleware that forwards allowed requests and answers others with an error."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app, self._config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check(scope, self._config)
        except Refused as refused:
            await error_response(refused, scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def check(scope: Scope, config: ServeConfig) -> None:
    """Checks the headers of a request.

    Args:
        scope: ASGI scope of the request.
        config: Settings of the server.

    Raises:
        Refused: The HTTP version is not supported, there are too many headers, the end of the body is ambiguous or its
            encoding not supported, the key is wrong, or, without a key, host, origin or content type are not allowed.
    """
    headers = Headers(scope=scope)
    if scope["http_version"] not in ("1.0", "1.1"):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "requests are HTTP/1.1 or HTTP/1.0", closes=True)
    if len(headers.raw) > MAX_HEADERS:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has at most {MAX_HEADERS} headers")
    if "transfer-encoding" in headers and "content-length" in headers:
        raise Refused(
            HTTPStatus.BAD_REQUEST, "a request has a Content-Length or a Transfer-Encoding, not both", closes=True
        )
    if headers.get("content-encoding", "identity") != "identity":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not supported; send the body without encoding"
        )
    if config.api_key is None:
        _check_names(headers, config)
        if scope["method"] == "POST":
            _check_content_type(headers.getlist("content-type"))
    elif scope["path"] != "/health" and not _has_key(headers, config):
        raise Refused(HTTPStatus.UNAUTHORIZED, "wrong or missing API key", code="invalid_api_key")


def _check_names(headers: Headers, config: ServeConfig) -> None:
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_own_name(hosts[0], config):
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            f"the Host header {_shown(hosts)} does not name this server; without an API key it answers to {_names(config)}",
        )
    origins = headers.getlist("origin")
    if not all(_may_ask(one, config) for one in origins):
        raise Refused(
            HTTPStatus.FORBIDDEN, f"pages of the origin {_shown(origins)} may not ask a server without an API key"
        )


def _may_ask(origin: str, config: ServeConfig) -> bool:
    match = _ORIGIN.fullmatch(origin)
    return origin in config.cors_origins or (match is not None and is_own_name(match["authority"], config))


def is_own_name(authority: str, config: ServeConfig) -> bool:
    """Whether `HOST[:PORT]` names this server: a loopback name, or with `no_key` an IP address or the configured host.

    With `no_key`, other names are still refused: a name can be rebound to another address (DNS rebinding), an address cannot.

    Args:
        authority: Value of the header Host, or the authority of an origin.
        config: Settings of the server.

    >>> [is_own_name(name, ServeConfig()) for name in ("localhost:8080", "[::1]", "evil.example", "127.0.0.1.evil.example")]
    [True, True, False, False]
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    name = match["name"].strip("[]")
    if is_loopback(name):
        return True
    return config.no_key and (ip_address(name) is not None or name.lower() == config.host.lower())


def _names(config: ServeConfig) -> str:
    return "localhost, IP addresses and its own `host`" if config.no_key else "localhost, 127.0.0.1 and [::1]"


def _check_content_type(types: list[str]) -> None:
    if not types:
        raise Refused(HTTPStatus.BAD_REQUEST, "the header `Content-Type: application/json` is missing")
    if [one.partition(";")[0].strip().lower() for one in types] != ["application/json"]:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is application/json, not {_shown(types)}")


def _has_key(headers: Headers, config: ServeConfig) -> bool:
    """Whether the request has the key. Bytes are compared in constant time, because a key may contain any character."""
    key = config.key_bytes
    given = [value for name, value in headers.raw if name == b"authorization"]
    if key is None or len(given) != 1:
        return False
    scheme, _, token = given[0].partition(b" ")
    return hmac.compare_digest(token.strip(b" \t"), key) and scheme.lower() == b"bearer"


def _shown(values: Iterable[str]) -> str:
    return repr(", ".join(values))[:100]
