"""Fast style transfer: one feed-forward net for many styles, trained on the target's own features."""

from __future__ import annotations

from auditor.methods.faststyle.beside import equal_evaluations
from auditor.methods.faststyle.choice import stylish
from auditor.methods.faststyle.lesson import NAME, Setting, Wanted, setting_of, style_lesson
from auditor.methods.faststyle.network import StyleNet, one_hot
from auditor.methods.faststyle.work import net_work, part_of, training_work

__all__ = [
    "NAME", "Setting", "StyleNet", "Wanted", "equal_evaluations", "net_work", "one_hot", "part_of", "setting_of",
    "style_lesson", "stylish", "training_work",
]  # fmt: skip
