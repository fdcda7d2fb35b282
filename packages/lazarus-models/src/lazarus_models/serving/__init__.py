"""`lazarus serve`: OpenAI's HTTP interface for a model. Needs the extra `serve` (uvicorn, Starlette)."""

from lazarus_models.serving.config import ServeConfig as ServeConfig
from lazarus_models.serving.server import Server as Server
