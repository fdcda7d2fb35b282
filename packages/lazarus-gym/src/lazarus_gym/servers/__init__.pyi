from .puzzle_protocol import PuzzleConnection as PuzzleConnection
from .puzzle_server import PuzzleServerConfig as PuzzleServerConfig
from .puzzle_server import serve_puzzles as serve_puzzles
