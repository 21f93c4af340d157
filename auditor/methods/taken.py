"""What a model, and a second one beside it, take pictures for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.fold import State
from auditor.target import same_class, scores_of_second
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.target import Target


def taken_for(target: Target, pictures: Tensor) -> State:
    """own_class, own_probability, second_class, second_probability, (n,) each, of pictures (n,C,H,W) in [0,1].

    -1 and 0 where a model gives no scores, or there is none. One picture at a time: what a row holds never depends on the others.
    """
    assert target.preprocess.invertible, "a probe that makes pictures needs pixels"
    out: State = {}
    for name, model in (("own", target), ("second", target.second)):
        classes, probability = np.full(len(pictures), -1, np.int64), np.zeros(len(pictures), np.float32)
        for i in range(len(pictures) if model is not None and model.task == "classification" else 0):
            picture = pictures[i : i + 1]
            with torch.no_grad():
                assert model is not None
                scores = (
                    target.module(target.preprocess.normalise(picture)) if model is target else scores_of_second(model, picture)
                )
            best = scores.float().softmax(1)[0].max(0)
            classes[i], probability[i] = int(best.indices), float(best.values)
        out |= {f"{name}_class": classes, f"{name}_probability": probability}
    return out


def agreed(target: Target, names: Sequence[str], units: Array, second: Array) -> Array | None:
    """(n,) 1 where the second model takes the picture for the class in `units` (n,), 0 where not, -1 where it has no such class.

    `second`: (n,) what it takes them for; `names`: of the data's classes. None without a second model.
    """
    other = target.second
    if other is None:
        return None
    same = same_class(names if target.classes is None else target.classes, other.classes, target.outputs, other.outputs)
    wanted = [same[unit] for unit in units.tolist()]
    return np.array([-1 if w is None else int(w == s) for w, s in zip(wanted, second.tolist(), strict=True)])
