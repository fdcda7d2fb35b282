from .cpu.numpy_views import flat_view as flat_view
from .cpu.numpy_views import fresh as fresh
from .cpu.numpy_views import view as view
from .normalizer import log_normalizer as log_normalizer
from .normalizer import log_probabilities as log_probabilities
from .recomputation import detached as detached
from .recomputation import recomputed as recomputed
from .root_mean_square import rms_norm as rms_norm
