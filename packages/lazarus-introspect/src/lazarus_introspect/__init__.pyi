from ._version import __version__ as __version__
from .cache import ActivationCache as ActivationCache
from .cache import capturing as capturing
from .cache import run_with_cache as run_with_cache
from .errors import IntrospectError as IntrospectError
from .hooks import hooked as hooked
from .hooks import run_with_hooks as run_with_hooks
from .sites import sites as sites
