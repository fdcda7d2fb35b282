from .encoder import ENCODE_VERSION as ENCODE_VERSION
from .encoder import Encoded as Encoded
from .encoder import Encoder as Encoder
from .encoder import Measure as Measure
from .encoder import Prepared as Prepared
