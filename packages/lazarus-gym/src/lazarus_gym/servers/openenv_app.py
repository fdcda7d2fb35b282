"""The paths of an OpenEnv server as an ASGI application: `/ws` for sessions, and the HTTP paths of openenv 0.10.

A WebSocket is a session. Over HTTP, `POST /reset` begins an episode and returns its `episode_id`; `/step` and `/state` take it, so that
clients do not share episodes. Sessions of both kinds count towards one limit.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, cast

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_gym._version import __version__
from lazarus_gym.errors import GymError
from lazarus_gym.interface import Observation
from lazarus_gym.servers.openenv_session import (
    Action,
    Message,
    OpenEnvSession,
    Reset,
    SessionState,
    choices,
    error_reply,
    problem,
)

MAX_BODY_BYTES = 1 << 20
API_VERSION = "1.0.0"
"""Version of the HTTP interface: 1.x in the words of openenv."""
TRY_LATER, TOO_BIG = 1013, 1009
"""Codes with which a WebSocket is closed (RFC 6455 and its registry)."""
NAME = "lazarus-gym"
DESCRIPTION = "Puzzles and tasks with verifiable answers; `environment`, `task` and `seed` of a reset choose one."


class OpenEnvApp:
    """The application.

    Args:
        environment: Environment of sessions that name none.
        task: Its task; None for the first.
        max_sessions: Sessions at once.
        idle_s: Seconds without a message after which a session ends.
    """

    def __init__(self, *, environment: str, task: str | None, max_sessions: int, idle_s: float) -> None:
        self._environment, self._task = environment, task
        self._max_sessions, self._idle_s = max_sessions, idle_s
        self._num_websockets = 0
        self._episodes: dict[str, tuple[OpenEnvSession, float, asyncio.Lock]] = {}
        routes = [
            Route("/health", _answer({"status": "healthy"})),
            Route("/metadata", _answer(self._metadata())),
            Route("/schema", _answer(_schemas())),
            Route("/openapi.json", _answer(openapi())),
            Route("/mcp", self._mcp, methods=["POST"]),
            Route("/reset", self._reset, methods=["POST"]),
            Route("/step", self._step, methods=["POST"]),
            Route("/state", self._state),
            WebSocketRoute("/ws", self._converse),
        ]
        self.asgi = Starlette(routes=routes)

    def _metadata(self) -> Message:
        return {
            "name": NAME,
            "description": DESCRIPTION,
            "version": __version__,
            "default": {"environment": self._environment, "task": self._task},
            "environments": choices(),
        }

    def _session(self, environment: str | None, task: str | None) -> OpenEnvSession:
        if environment is None or environment == self._environment:
            return OpenEnvSession(self._environment, task or self._task)
        return OpenEnvSession(environment, task)

    @property
    def _is_full(self) -> bool:
        self._forget_silent()
        return self._num_websockets + len(self._episodes) >= self._max_sessions

    def _forget_silent(self) -> None:
        oldest = time.monotonic() - self._idle_s
        self._episodes = {
            name: (session, used, lock)
            for name, (session, used, lock) in self._episodes.items()
            if used >= oldest or lock.locked()
        }

    async def _converse(self, socket: WebSocket) -> None:
        """One session over a WebSocket."""
        await socket.accept()
        if self._is_full:
            await self._end(
                socket, error_reply("CAPACITY_REACHED", f"the server has {self._max_sessions} sessions: try later")
            )
            return
        self._num_websockets += 1
        try:
            query = socket.query_params
            session = self._session(query.get("environment"), query.get("task"))
            while not session.is_closed:
                async with asyncio.timeout(self._idle_s):
                    received = await socket.receive()
                if received["type"] == "websocket.disconnect":
                    return
                content: str | bytes = received.get("text") or received.get("bytes") or ""
                # Puzzles are computed in a thread, so other sessions go on.
                reply = await asyncio.to_thread(session.reply, content)
                if reply is not None:
                    await socket.send_text(_json(reply))
            await socket.close()
        except TimeoutError:
            await self._end(socket, error_reply("SESSION_ERROR", f"no message came in {self._idle_s:g} s"))
        except GymError as error:  # a wrong name in the query
            await self._end(socket, error_reply("SESSION_ERROR", error.message))
        except WebSocketDisconnect:
            return
        finally:
            self._num_websockets -= 1

    async def _end(self, socket: WebSocket, reply: Message) -> None:
        try:
            await socket.send_text(_json(reply))
            await socket.close(TRY_LATER)
        except (WebSocketDisconnect, RuntimeError):  # the client left meanwhile
            return

    async def _reset(self, request: Request) -> JSONResponse:
        data = await _body(request)
        if isinstance(data, JSONResponse):
            return data
        if self._is_full:
            return _error(503, f"the server has {self._max_sessions} sessions: try later")
        try:
            session = self._session(None, None)
            reply = await asyncio.to_thread(session.reset, data)
        except ValidationError as error:
            return _error(422, problem(error))
        except GymError as error:
            return _error(422, error.message)
        assert session.episode_id is not None
        if session.episode_id in self._episodes:
            return _error(409, "an episode with this `episode_id` is in progress: choose another name")
        self._episodes[session.episode_id] = (session, time.monotonic(), asyncio.Lock())
        return JSONResponse(reply)

    async def _step(self, request: Request) -> JSONResponse:
        data = await _body(request)
        if isinstance(data, JSONResponse):
            return data
        action = data.get("action")
        if not isinstance(action, dict):
            return _error(422, "`action` must be an object")
        members = cast("Message", action)
        reply = await self._in_episode(data.get("episode_id"), lambda session: session.step(members))
        if reply.status_code == 200 and json.loads(bytes(reply.body))["done"]:
            self._episodes.pop(str(data.get("episode_id")), None)
        return reply

    async def _state(self, request: Request) -> JSONResponse:
        return await self._in_episode(request.query_params.get("episode_id"), lambda session: session.state())

    async def _in_episode(self, name: object, work: Callable[[OpenEnvSession], Message]) -> JSONResponse:
        """Does something in the episode of a name, one request after the other."""
        self._forget_silent()
        if not isinstance(name, str) or name not in self._episodes:
            return _error(
                422, "no episode in progress has this `episode_id`: give the one that `/reset` returned, or use `/ws`"
            )
        session, _, lock = self._episodes[name]
        try:
            async with lock:
                reply = await asyncio.to_thread(work, session)
        except ValidationError as error:
            return _error(422, problem(error))
        except GymError as error:
            return _error(422, error.message)
        if name in self._episodes:
            self._episodes[name] = (session, time.monotonic(), lock)
        return JSONResponse(reply)

    async def _mcp(self, request: Request) -> JSONResponse:
        """JSON-RPC 2.0. The environments have no MCP tools, so every method is unknown."""
        data = await _body(request)
        if isinstance(data, JSONResponse):
            return _rpc_error(None, -32700, "Parse error")
        call = data.get("id")
        if data.get("jsonrpc") != "2.0" or not isinstance(data.get("method"), str):
            return _rpc_error(call, -32600, "Invalid Request")
        return _rpc_error(call, -32601, "Method not found: this server has no MCP tools; use /ws")


def openapi() -> Message:
    """The OpenAPI document of the HTTP paths."""
    schemas = _schemas()
    done = {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}
    wrong = {"description": "The request is not valid"}

    def path(method: str, summary: str, body: Message | None = None, **more: Any) -> Message:
        operation: Message = {"summary": summary, "responses": {"200": done, "422": wrong}, **more}
        if body is not None:
            operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
        return {method: operation}

    episode = {"type": "string", "maxLength": 255}
    step = {
        "type": "object",
        "properties": {"action": schemas["action"], "episode_id": episode},
        "required": ["action", "episode_id"],
    }
    query = [{"name": "episode_id", "in": "query", "required": True, "schema": episode}]
    return {
        "openapi": "3.1.0",
        "info": {"title": NAME, "description": DESCRIPTION, "version": API_VERSION},
        "paths": {
            "/health": path("get", "Whether the server works"),
            "/metadata": path("get", "Name, description and environments"),
            "/schema": path("get", "JSON schemas of action, observation and state"),
            "/reset": path("post", "Begin an episode", Reset.model_json_schema()),
            "/step": path("post", "Execute an action", step),
            "/state": path("get", "Counters of an episode", parameters=query),
            "/mcp": path("post", "JSON-RPC 2.0", {"type": "object"}),
        },
    }


def _schemas() -> Message:
    return {
        "action": Action.model_json_schema(),
        "observation": Observation.model_json_schema(),
        "state": SessionState.model_json_schema(),
    }


def _answer(members: Message) -> Callable[[Request], JSONResponse]:
    return lambda request: JSONResponse(members)


async def _body(request: Request) -> Message | JSONResponse:
    """The JSON object of a request, `{}` without a body, or the reply that refuses it."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY_BYTES:
            return _error(413, f"the body is longer than {MAX_BODY_BYTES:,} bytes")
    if not content.strip():
        return {}
    try:
        return parse_object(bytes(content))
    except MalformedLine as error:
        return _error(422, f"the body is no JSON object: {error}")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": message}, status)


def _rpc_error(call: Any, code: int, message: str) -> JSONResponse:
    return JSONResponse(
        {
            "jsonrpc": "2.0",
            "id": call if isinstance(call, str | int) else None,
            "error": {"code": code, "message": message},
        }
    )


def _json(members: Message) -> str:
    return json.dumps(members, separators=(",", ":"))
