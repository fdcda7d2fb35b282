from .config import JailConfig as JailConfig
from .inside.text_guard import unsafe_reason as unsafe_reason
from .jail import Jail as Jail
from .results import JailResult as JailResult
from .results import Protections as Protections
