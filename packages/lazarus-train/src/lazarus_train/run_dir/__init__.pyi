from .links import How as How
from .links import Link as Link
