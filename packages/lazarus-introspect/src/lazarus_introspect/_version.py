"""The version of the installed package, read on first access."""

from importlib.metadata import version

__version__ = version("lazarus-introspect")
