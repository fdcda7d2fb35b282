"""`lazarus serve`: a model behind OpenAI's HTTP interface. Needs the extra `serve` (uvicorn, Starlette)."""

from lazarus_models.serving.config import ServeConfig as ServeConfig
from lazarus_models.serving.server import Server as Server
