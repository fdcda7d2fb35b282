from .evidence import Elsewhere as Elsewhere
from .evidence import Pins as Pins
