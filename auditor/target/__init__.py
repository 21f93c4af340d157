"""The model under audit: loaded, checked on one batch, frozen, looked into, and left as it was found."""

from __future__ import annotations

from auditor.target.forward import PRECISIONS, Forward
from auditor.target.generator import OwnGenerator, open_generator
from auditor.target.load import load_target
from auditor.target.model import Look, Target
from auditor.target.second import open_second, same_class, scores_of_second
from auditor.target.trace import Call

__all__ = [
    "PRECISIONS", "Call", "Forward", "Look", "OwnGenerator", "Target", "load_target", "open_generator", "open_second",
    "same_class", "scores_of_second",
]  # fmt: skip
