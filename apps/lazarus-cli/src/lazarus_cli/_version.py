"""The version of the installed package, read when it is first asked for."""

from importlib.metadata import version

__version__ = version("lazarus-cli")
