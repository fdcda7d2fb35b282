"""Refusals as OpenAI's clients read them: a status and `{"error": {"message", "type", "param", "code"}}`."""

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Scope


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: Of the answer.
        message: One sentence with the way out.
        param: The field of the request that is wrong, if it is one.
        code: OpenAI's word for the error, if it has one.
        closes: Whether the connection is closed after the answer: where it is unclear where the request ends.
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
        """The object that is sent."""
        kind = "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class JSONAnswer(Response):
    """JSON in UTF-8, characters as they are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return json.dumps(content, ensure_ascii=False).encode("utf-8")


def error_response(refused: Refused, scope: Scope) -> JSONAnswer:
    """The answer to a refused request.

    What is left of the request's body is read and dropped by the connection. A client that waits for `100 Continue` may
    send the body or not, so that its connection is closed.
    """
    headers: dict[str, str] = {}
    if refused.closes or any(name == b"expect" for name, _ in scope["headers"]):
        headers["Connection"] = "close"
    if refused.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONAnswer(refused.body(), status_code=refused.status, headers=headers)
