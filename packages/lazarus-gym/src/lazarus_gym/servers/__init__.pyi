from .openenv_server import OpenEnvServerConfig as OpenEnvServerConfig
from .openenv_server import serve_openenv as serve_openenv
from .openenv_session import OpenEnvSession as OpenEnvSession
from .puzzle_protocol import PuzzleConnection as PuzzleConnection
from .puzzle_server import PuzzleServerConfig as PuzzleServerConfig
from .puzzle_server import serve_puzzles as serve_puzzles
