"""Guided backprop on nine networks, beside captum's: python benchmarks/guided.py writes docs/guided_backprop.md.

The number of rectifiers is counted a second time, as the operations of a forward without autograd.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import captum
import torch
from captum.attr import GuidedBackprop
from torch import Tensor

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from auditor.methods.guided import ruled  # noqa: E402
from auditor.methods.saliency import gradient  # noqa: E402
from tests.methods.modern_nets import NINE, Counted, cosine, modern  # noqa: E402

CLASS = 3


def likeness(found: Tensor, plain: Tensor) -> str:
    """How a map lies to the plain gradient."""
    if torch.equal(found, plain):
        return "the gradient, bit by bit"
    return f"cosine {cosine(found, plain):.3f} with the gradient"


def main() -> int:
    """Measure, write the page; 1 where a rectifier was missed or a map is the gradient."""
    lines, bad = [], 0
    for name in NINE:
        model, image = modern(name)
        with Counted() as counted, torch.no_grad():
            model(image)
        plain = gradient(model, image, CLASS)
        found, counts = ruled(model, image, CLASS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum warns that it sets hooks
            theirs = GuidedBackprop(model).attribute(image.clone().requires_grad_(True), target=CLASS).detach()
        independent = sum(counted.found.values())
        good = bool(plain.any()) and counts.total == counts.reached == independent > 0 and not torch.equal(found, plain)
        bad += not good
        cells = (name, f"{counts.reached} of {counts.total}", independent, likeness(found, plain), likeness(theirs, plain))
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
        print(lines[-1], flush=True)
    text = (
        "# Guided backprop on nine networks\n\n"
        f"Made by `python benchmarks/guided.py` with captum {captum.__version__}: random weights, one image of noise, heads that "
        "start at zero drawn anew. Both maps are compared with the plain gradient, which a rule that does nothing gives "
        "back.\n\n"
        "| network | rectifiers intercepted | counted in the forward | ours | captum |\n| --- | --- | --- | --- | --- |\n"
    )
    (ROOT / "docs" / "guided_backprop.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
