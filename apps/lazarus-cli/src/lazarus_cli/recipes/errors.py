"""Errors of recipes.

LazarusError
├── RecipeError       a recipe, its data or its folder cannot be used      exit 2, LC-E200..E219, E223, E224
└── Drifted           the recipe does not agree with its lock              exit 1, LC-E221, E222
"""

from lazarus_core.errors import LazarusError


class RecipeError(LazarusError):
    """A recipe, its data or its folder cannot be used."""


class Drifted(LazarusError):
    """The recipe, its data or an output differs from the lock."""

    exit_code = 1
