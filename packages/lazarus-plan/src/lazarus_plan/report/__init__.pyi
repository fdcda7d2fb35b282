from .advice import candidates as candidates
from .advice import reason as reason
