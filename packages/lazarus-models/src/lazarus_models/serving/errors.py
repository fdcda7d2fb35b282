"""Errors in the format of OpenAI's interface: a status and `{"error": {"message", "type", "param", "code"}}`."""

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Scope


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status of the answer.
        message: One sentence that tells how to fix the request.
        param: The invalid field; None if no single field is invalid.
        code: Error code; None for none.
        closes: Whether the connection is closed after the answer, because the end of the request is unclear.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.closes = status, param, code, closes

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        kind = "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class JSONAnswer(Response):
    """A JSON response in UTF-8 without escapes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body as bytes."""
        return json.dumps(content, ensure_ascii=False).encode("utf-8")


def error_response(refused: Refused, scope: Scope) -> JSONAnswer:
    """The answer to a refused request.

    The connection reads and discards the rest of the request's body. A client that waits for `100 Continue` may or may not
    send the body, so its connection is closed.

    Args:
        refused: The error.
        scope: ASGI scope of the request.
    """
    headers: dict[str, str] = {}
    if refused.closes or any(name == b"expect" for name, _ in scope["headers"]):
        headers["Connection"] = "close"
    if refused.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONAnswer(refused.body(), status_code=refused.status, headers=headers)
