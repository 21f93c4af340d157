"""Gradient ascent on images: objectives, parameterisations, transforms, rules and regularisers that compose, one engine."""

from auditor.methods.ascent.engine import OPERATIONS, Made, Recipe, Task, ascend
from auditor.methods.ascent.natural import Natural, assumed, measured
from auditor.methods.ascent.objectives import TRIED, Energy, Units, frozen
from auditor.methods.ascent.recipes import PLAIN, RECIPES, YOSINSKI, published, recipe
from auditor.methods.ascent.space import Space

__all__ = [
    "OPERATIONS", "PLAIN", "RECIPES", "TRIED", "YOSINSKI", "Energy", "Made", "Natural", "Recipe", "Space", "Task", "Units",
    "ascend", "assumed", "frozen", "measured", "published", "recipe",
]  # fmt: skip
