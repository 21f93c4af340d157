from __future__ import annotations

import numpy as np

from auditor.methods.calibration import reliability


def test_reliability_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    confidence = np.concatenate([rng.uniform(0, 1, 500), [0, 1, 1 / 15, 2 / 3]])
    correct = rng.random(504) < confidence
    found = reliability(confidence, correct)
    expected = []
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15) | ((b == 0) & (confidence == 0))
        expected.append((confidence[inside].mean(), correct[inside].sum(), inside.sum()))
    np.testing.assert_allclose(np.stack([found.confidence, found.right, found.n], 1), expected, rtol=1e-12)
    assert found.n.sum() == 504
