from __future__ import annotations

import numpy as np

from auditor.methods.confusion import confusions, matrix, most_confused, recalls


def test_confusion_maths_by_brute_force() -> None:
    rng = np.random.default_rng(4)
    labels, predicted = rng.integers(0, 7, 200), rng.integers(0, 9, 200)
    pairs = confusions(labels, predicted)
    for a, b, count in pairs.tolist():
        assert count == np.sum((labels == a) & (predicted == b))
        assert a != b
    assert pairs[:, 2].sum() == np.sum(labels != predicted)
    by_class = recalls(labels, predicted)
    for c, right, n in zip(by_class.classes, by_class.right, by_class.n, strict=True):
        assert (right, n) == (np.sum((labels == c) & (predicted == c)), np.sum(labels == c))
    assert matrix(labels, predicted, np.array([1, 8])).tolist() == [
        [np.sum((labels == a) & (predicted == b)) for b in (1, 8)] for a in (1, 8)
    ]
    assert most_confused(np.array([[3, 1, 9], [1, 2, 5], [7, 8, 4]]), 4).tolist() == [1, 2, 3]
    assert confusions(np.array([1, 2]), np.array([1, 2])).shape == (0, 3)
