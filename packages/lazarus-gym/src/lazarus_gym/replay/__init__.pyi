from .buffer import Drawn as Drawn
from .buffer import ReplayBuffer as ReplayBuffer
from .buffer import ReplayBufferConfig as ReplayBufferConfig
from .checkpoint import load_buffer as load_buffer
from .checkpoint import save_buffer as save_buffer
from .sample import SampleSource as SampleSource
from .sample import StreamSample as StreamSample
from .sum_tree import SumTree as SumTree
