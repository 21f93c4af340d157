"""Every probe on sixteen architectures: done, or not applicable and why. Writes docs/architectures.md.

    python benchmarks/architectures.py [--probes ID,ID] [NAME ...]

Weights are random (no hub is asked) and heads that start at zero are drawn anew, so the figures mean nothing here: what counts is
that each probe finds the layers, the rectifiers and the head of each architecture. What is not run this time stays as it
stands in docs/architectures.json. Exits with 1 where a probe failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from skimage import data as photographs
from torch import nn

import auditor
from auditor.preprocess import Geometry, Preprocess
from auditor.probes import registry

PAGE = Path(__file__).parent.parent / "docs" / "architectures.md"
KNOWN = PAGE.with_suffix(".json")
CLASSES, IMAGES = 10, 12
FEWER = {
    "images": 1, "iterations": 4, "steps": 4, "samples": 2, "window": 0.25, "stride": 0.25, "max_iterations": 4, "units": 2,
    "points": 3, "cells": 4, "orders": 1, "windows": 3, "fractions": (0.0,), "queries": 2, "epsilons": (0.0, 2 / 255),
}  # fmt: skip
"""Parameters that only say how much is done."""
ARCHITECTURES = (
    "alexnet", "vgg11", "squeezenet1_1", "resnet18", "densenet121", "googlenet", "inception_v3", "mobilenet_v2",
    "mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny", "swin_t", "maxvit_t", "vit_b_16",
    "timm:vit_wee_patch16_reg1_gap_256",
)  # fmt: skip
SIDES = {"inception_v3": 160, "maxvit_t": 224, "timm:vit_wee_patch16_reg1_gap_256": 256}
SIDE = 128
"""Pixels where an architecture takes any size: the layers are the same."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def built(name: str) -> nn.Module:
    """The architecture with random weights of seed 0."""
    torch.manual_seed(0)
    if name.startswith("timm:"):
        model: nn.Module = timm.create_model(name.removeprefix("timm:"), pretrained=False, num_classes=CLASSES)
    else:
        more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        more |= {"image_size": SIDE} if name.startswith("vit") else {}
        model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **more)
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            module.reset_parameters()
    return model.eval()


def pictures(side: int) -> np.ndarray:
    """(IMAGES,side,side,3): squares of photographs."""
    whole = [np.asarray(getattr(photographs, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    rng, found = np.random.default_rng(0), []
    for i in range(IMAGES):
        picture = whole[i % len(whole)][..., :3]
        high, wide = picture.shape[:2]
        edge = int(min(high, wide) * rng.uniform(0.6, 1.0))
        top, left = int(rng.integers(0, high - edge + 1)), int(rng.integers(0, wide - edge + 1))
        square = Image.fromarray(picture[top : top + edge, left : left + edge])
        found.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(found)


def probes(ids: list[str]) -> list[Any]:
    """These probes as in the profile quick, with less to do."""
    made = []
    for id in ids:
        probe = registry()[id]
        known = {f.name for f in dataclasses.fields(probe)}
        fewer = {name: value for name, value in FEWER.items() if name in known}
        made.append(probe(**{**(probe.profiles.get("quick") or {}), **fewer}))
    return made


def audited(name: str, ids: list[str], folder: Path) -> dict[str, Any]:
    """{probe: [status, reason]} of one architecture, and its rectifiers."""
    side = SIDES.get(name, SIDE)
    audit = auditor.run(
        built(name),
        (pictures(side), np.arange(IMAGES) % CLASSES),
        preprocess=Preprocess(Geometry("RGB", (side, side)), MEAN, STD),
        probes=probes(ids),
        profile="quick",
        out=folder / "audit",
        work=folder / "work",
    )
    found: dict[str, Any] = {id: [audit[id].status, audit[id].reason] for id in ids}
    if "guided_backprop" in ids:
        values = audit["guided_backprop"].values
        counts = [values[f"rectifiers_{kind}"].value or 0 for kind in ("intercepted", "total") if f"rectifiers_{kind}" in values]
        found["rectifiers"] = " of ".join(f"{count:.0f}" for count in counts) or "none"
    return found


def page(found: dict[str, dict[str, Any]]) -> str:
    """The table, with the reasons under it."""
    names, reasons, lines = list(registry()), list[str](), []
    for architecture, row in found.items():
        cells = []
        for name in names:
            status, reason = row.get(name, ("not run", ""))
            told = f"{status.replace('_', ' ')}: {reason}"
            if status != "done" and told not in reasons:
                reasons.append(told)
            cells.append("done" if status == "done" else f"[{reasons.index(told) + 1}]")
        lines.append(f"| {architecture.removeprefix('timm:')} | " + " | ".join([*cells, row.get("rectifiers", "")]) + " |")
    head = "| architecture | " + " | ".join(f"`{name}`" for name in names) + " | rectifiers intercepted |"
    rule = "| --- |" + " --- |" * (len(names) + 1)
    numbered = [f"[{i + 1}] {reason}" for i, reason in enumerate(reasons)]
    versions = ", ".join(f"{made.__name__} {made.__version__.partition('+')[0]}" for made in (torch, torchvision, timm))
    words = (
        f"Made by `python benchmarks/architectures.py` with {versions}. Random weights, {IMAGES} pictures, few images a "
        "probe: it shows what applies, not how good a model is. A number stands for the reason below the table."
    )
    return "\n".join(["# Every probe on every architecture", "", words, "", head, rule, *lines, "", *numbered, ""])


def main() -> int:
    """Audit the architectures named, or all, by the probes named, or all; write what is known by now."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", default=",".join(registry()))
    parser.add_argument("names", nargs="*", default=list(ARCHITECTURES))
    given = parser.parse_args()
    known = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}
    bad = 0
    for name in given.names:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            row = audited(name, given.probes.split(","), Path(folder))
        failed = [f"{probe}: {told[1]}" for probe, told in row.items() if told[0] in ("failed", "skipped")]
        bad += len(failed)
        print(f"{name}: {time.perf_counter() - begin:.0f} s; {'; '.join(failed) or 'no probe failed'}", flush=True)
        known[name] = known.get(name, {}) | row
        KNOWN.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page({name: known[name] for name in ARCHITECTURES if name in known}), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
