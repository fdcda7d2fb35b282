"""What streams training data from puzzles: the client of a puzzle server and the replay buffer, under one name."""

from lazarus_gym.replay import ReplayBuffer as ReplayBuffer
from lazarus_gym.replay import ReplayBufferConfig as ReplayBufferConfig
from lazarus_gym.replay import SampleSource as SampleSource
from lazarus_gym.replay import StreamSample as StreamSample
from lazarus_gym.wire import PuzzleDifficulty as PuzzleDifficulty
from lazarus_gym.wire import PuzzleGame as PuzzleGame
from lazarus_gym.wire import TelnetClientConfig as TelnetClientConfig
from lazarus_gym.wire import TelnetGymClient as TelnetGymClient
