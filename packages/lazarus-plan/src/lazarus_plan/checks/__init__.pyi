from .pin import check_pin as check_pin
from .pin import resolve_pin as resolve_pin
from .sampled import Recipe as Recipe
