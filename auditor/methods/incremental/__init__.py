"""Scores of images that differ from one base image within a window each, by recomputing only what the window changes.

Values are exact: every rule recomputes what a change can reach, and what has no rule is computed on whole images.

    windows.py    where a changed window ends up after a convolution or a pooling
    patch.py      the tensor that carries it through the model's own forward
    carry.py      one operation of that forward: by its rule, or on whole images
    local.py      the rules of convolution, batch norm and pooling
    packed.py     the convolution itself
    pointwise.py  those of activations, sums, concatenations and means
    work.py       what one base image has brought, and how much work was saved
    order.py      which windows go through together
    scores.py     all of it together
"""

from __future__ import annotations

from auditor.methods.incremental.patch import Patch, UnsupportedError
from auditor.methods.incremental.scores import scores_of_windows
from auditor.methods.incremental.work import Kept, Work

__all__ = ["Kept", "Patch", "UnsupportedError", "Work", "scores_of_windows"]
