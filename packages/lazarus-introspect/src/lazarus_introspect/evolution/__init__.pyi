from .jumps import Jump as Jump
from .jumps import largest_jump as largest_jump
from .metrics import Metric as Metric
from .result import EvolutionResult as EvolutionResult
from .tracing import evolve as evolve
