from .architecture import AttentionConfig as AttentionConfig
from .architecture import BlockConfig as BlockConfig
from .architecture import DecoderConfig as DecoderConfig
from .architecture import FeedForward as FeedForward
from .architecture import Mamba2Config as Mamba2Config
from .architecture import MambaConfig as MambaConfig
from .architecture import Mixer as Mixer
from .architecture import MoEConfig as MoEConfig
