"""Pictures through a generator: a net that makes an image of a code, and ascent in that code (Nguyen 2016)."""

from auditor.methods.generator.code import Code, Range, code_recipe, measured_range
from auditor.methods.generator.inverse import Wanted, inverse_lesson
from auditor.methods.generator.network import UpConv, output_size
from auditor.methods.generator.work import training_work, width_of

__all__ = [
    "Code", "Range", "UpConv", "Wanted", "code_recipe", "inverse_lesson", "measured_range", "output_size", "resized",
    "training_work", "width_of",
]  # fmt: skip
