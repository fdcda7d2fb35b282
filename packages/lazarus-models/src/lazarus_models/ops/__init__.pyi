from .cpu.numpy_views import flat_view as flat_view
from .cpu.numpy_views import fresh as fresh
from .cpu.numpy_views import view as view
from .log_normalizer import log_probabilities as log_probabilities
from .recomputation import detached as detached
from .recomputation import recomputed as recomputed
