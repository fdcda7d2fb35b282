from .cache import build_lengths as build_lengths
from .in_memory import measure_samples as measure_samples
from .measure import EncodedRow as EncodedRow
from .measure import encode_rows as encode_rows
from .measure import source_header as source_header
from .stats import LengthStats as LengthStats
from .stats import LengthTally as LengthTally
