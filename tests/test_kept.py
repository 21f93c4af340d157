"""What an audit keeps comes back from its folder as it was, and what does not fit is left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import auditor
from auditor import testing
from auditor.evidence.pca import pca
from auditor.gate.likeness import cka, likeness
from auditor.kept import read_features, read_peaks
from auditor.samples import sample_features
from auditor.store import read_audit, read_columns, write_artifacts


def features(n: int, width: int) -> Any:
    return np.random.default_rng(0).normal(size=(n, width)) * np.geomspace(4, 0.1, width)


def evidence(x: Any) -> Any:
    return SimpleNamespace(features=x.astype(np.float32), pca=pca(x), chosen=lambda count: np.arange(len(x))[::-1][:count])


def test_features_come_back_as_a_rotation_of_themselves(tmp_path: Path) -> None:
    x = features(200, 30)
    write_artifacts(tmp_path, "samples", sample_features(evidence(x)))
    kept = read_features(tmp_path)
    assert kept is not None
    assert kept.variance == pytest.approx(1)
    assert cka(kept.features, x[kept.positions]) == pytest.approx(1, abs=1e-5)
    far, own = (np.linalg.norm(a[:50, None] - a[None, :50], axis=2) for a in (kept.features, x))
    np.testing.assert_allclose(far / far.max(), own / own.max(), atol=2e-3)


def test_wide_features_keep_fifty_components_and_say_what_they_hold(tmp_path: Path) -> None:
    x = features(300, 80)
    write_artifacts(tmp_path, "samples", sample_features(evidence(x)))
    kept = read_features(tmp_path)
    assert kept is not None
    assert kept.features.shape == (300, 50)
    expected = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    assert kept.variance == pytest.approx(expected[:50].sum() / expected.sum(), abs=1e-5)
    broken = x.copy()
    broken[3, 3] = np.nan
    assert sample_features(SimpleNamespace(features=broken, chosen=lambda count: np.arange(300)[:count])) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [np.zeros((5, 2, 2)), np.full((5, 2), np.nan), np.zeros((4, 2)), np.zeros((5, 2), dtype=bool)])
def test_what_does_not_fit_is_left_out(tmp_path: Path, wrong: Any) -> None:
    good = {"features.npy": np.zeros((5, 2)), "features-positions.npy": np.arange(5), "features-variance.npy": np.ones(3)}
    write_artifacts(tmp_path, "samples", good)
    assert read_features(tmp_path) is not None
    write_artifacts(tmp_path, "samples", {"features.npy": wrong})
    assert read_features(tmp_path) is None
    write_artifacts(tmp_path, "samples", good | {"features-positions.npy": np.zeros(5, dtype=int)})  # one image twice
    assert read_features(tmp_path) is None
    assert read_features(tmp_path / "none") is None


def test_two_audits_of_a_net_with_permuted_channels_see_alike(tmp_path: Path) -> None:
    """The first convolution's channels in another order, the second reading them so: another file, the same function."""
    model, data = testing.world()
    other, _ = testing.world()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(other.conv1, name).copy_(getattr(model.conv1, name)[order])
            getattr(other.bn1, name).copy_(getattr(model.bn1, name)[order])
        other.conv2.weight.copy_(model.conv2.weight[:, order])
    found = []
    for place, net in enumerate((model, other)):
        auditor.run(
            net, data, preprocess=testing.PREPROCESS, probes="patches", out=tmp_path / str(place), work=tmp_path / f"w{place}",
            device="cpu",
        )  # fmt: skip
        found.append(tmp_path / str(place))
    held = [(read_features(folder), read_peaks(folder, read_audit(folder))) for folder in found]
    every = np.arange(24)
    alike = likeness((held[0][0], held[1][0]), (held[0][1], held[1][1]), (every, every), read_columns(found[1])["name"])
    assert alike.drift is not None
    assert alike.drift.cka == pytest.approx(1, abs=1e-4)
    assert alike.layers
    for layer in alike.layers:
        live = layer.today
        assert layer.mean == pytest.approx(1, abs=1e-6), layer.layer
        assert layer.before == live > 0
        assert layer.matched == live or layer.line > 0.99
