from .against_data import ChainCheck as ChainCheck
from .against_data import check_files as check_files
from .against_data import check_lengths as check_lengths
from .pin import check_pin as check_pin
from .pin import resolve_pin as resolve_pin
from .sampled import Recipe as Recipe
