"""`auditor init`: a commented audit.toml."""

from __future__ import annotations

from pathlib import Path

from auditor.errors import ConfigError
from auditor.store import write_bytes

DEFAULT = """\
# What `auditor run` audits, and what `auditor check` asks of it. Options of the command line stand over what is written here.
# A key that is not known is an error; docs/audit.schema.json lists them all.

# requires = ">=0.1"                  # versions of auditor that this file is for

[target]
# model = "torchvision:resnet50"      # or timm:NAME, hf:NAME, package.module:factory, file.py:factory, demo:NAME
# weights = "model.safetensors"
# model_args = { width = 2 }          # for a factory
# preprocess = "imagenet"             # or, where the model does not bring one, in units where pixels are 0 to 1:
# mean = [0.485, 0.456, 0.406]
# std = [0.229, 0.224, 0.225]
# resize = 256                        # short side, or [height, width]
# crop = 224
# interpolation = "bilinear"
# classes = "classes.txt"             # names in the order of the logits, one a line
# task = "classification"             # or "features": the label-free probes only
# device = "auto"

[data]
# path = "photos/val"                 # a folder of class folders, manifest.csv, images.npz, loose images, or a factory
# train = "photos/train"              # what the model was trained on: `neighbours` looks for leaks into the data
# label_map = "labels.csv"            # label of the data -> class of the model
# depth16 = "full"                    # 16-bit images: full, minmax or max=N

# [probes.occlusion]                  # parameters of a probe: `auditor probes explain occlusion` names them
# images = 32

# [profiles.nightly.adversarial]      # your own profile: `auditor run --profile nightly`
# images = 500

[gate]
confidence = 0.95                     # of each one-sided bound
decide = "bounds"                     # "point" compares the values themselves, and the report says so
coverage = 0.99                       # least share of the listed images that could be used

# A rule passes when the one-sided bound of the figure is on the right side of the line, fails when the other bound is on the
# wrong side, and is inconclusive in between (exit code 4). Take the # away, and set lines that your release must hold.
# [[gate.rules]]
# measure = "performance.top1"        # probe.measure, or probe.measure.scope
# at_least = 0.80                     # or at_most
# level = "fail"                      # or "warn": told, and exit code 0
# on_inconclusive = "inconclusive"    # or "pass", "fail"
"""


def write_config(path: Path, *, force: bool) -> Path:
    """Write the commented default to `path`; an existing file is kept unless `force`."""
    if path.exists() and not force:
        raise ConfigError(f"{path} exists and was kept; give another name, or --force to replace it")
    write_bytes(path, DEFAULT.encode())
    return path
