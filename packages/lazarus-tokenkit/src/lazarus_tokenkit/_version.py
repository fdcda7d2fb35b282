"""The version of the installed package, read at the first access."""

from importlib.metadata import version

__version__ = version("lazarus-tokenkit")
