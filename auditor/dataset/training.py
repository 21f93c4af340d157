"""The set that a model was trained on, opened beside the audited one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from auditor.dataset import Dataset
from auditor.errors import DataError, LabelError


def open_training(open_one: Callable[..., Dataset], beside: Dataset, **meeting: Any) -> Dataset:
    """The training set that `open_one` opens with the `meeting` of labels and logits (as `open_dataset` takes them).

    Where its labels meet no class of the model it has none, and its ledger says so: leaks need no labels. Raises DataError
    where it cannot be read, or where its images are of another size than those `beside` it.
    """
    try:
        found = open_one(**meeting)
    except LabelError as error:
        found = unlabelled(open_one(outputs=0), f"the labels of the training set are not used: {error}")
    except DataError as error:
        raise DataError(f"the training data: {str(error).replace('--data', '--train')}") from error
    if found.images.shape[1:] != beside.images.shape[1:]:
        sizes = [" x ".join(map(str, images.shape[1:])) for images in (found.images, beside.images)]
        raise DataError(
            f"--train: its images are {sizes[0]} as the model sees them, those of --data {sizes[1]}; "
            "give --resize or --crop so that both are of one size"
        )
    return found


def unlabelled(dataset: Dataset, why: str) -> Dataset:
    """The data set without its labels, with a warning in its ledger."""
    samples = tuple(replace(sample, label=-1) for sample in dataset.samples)
    ledger = {**dataset.ledger, "unlabelled": len(samples), "classes": {}, "names": [], "label_rule": "not used"}
    ledger["warnings"] = [why, *dataset.ledger["warnings"]]
    return replace(dataset, samples=samples, labels=np.full(len(samples), -1, dtype=np.int64), classes=(), ledger=ledger)
