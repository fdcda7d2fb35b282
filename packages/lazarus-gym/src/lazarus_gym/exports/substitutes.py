"""What an exported file has in place of the package and of `typing_extensions`."""

from typing import TypeVar

Method = TypeVar("Method")


class EnvironmentUseError(Exception):
    """An episode is used wrongly.

    Args:
        message: What is wrong.
        code: Code of the error in lazarus-gym.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message, self.code = message, code


def override(method: Method) -> Method:
    """Marks a method that replaces one of the base class."""
    return method
