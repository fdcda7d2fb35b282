from .sampled import Recipe as Recipe
