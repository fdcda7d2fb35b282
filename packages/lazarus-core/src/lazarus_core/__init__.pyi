from ._version import __version__ as __version__
from .errors import InputError as InputError
from .errors import LazarusError as LazarusError
from .errors import OutputTaken as OutputTaken
