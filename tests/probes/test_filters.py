from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor.ops.kernels import display, slices
from auditor.probe import Results, about
from auditor.probes.filters import Filters, columns_of
from auditor.target.trace import trace
from auditor.types import Finding

torch.set_num_threads(1)


def conclude(model: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> Finding:
    calls, _ = trace(model.eval(), torch.zeros(1, *shape))
    target: Any = SimpleNamespace(model=model, trace=calls)
    return Filters().conclude(target, SimpleNamespace(seed=0), Results())  # type: ignore[arg-type]


def net(first: nn.Module, *rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(first, *rest)


def figure(found: Finding, name: str) -> Any:
    return next(f for f in found.figures if f.name == name)


@pytest.fixture
def planted() -> nn.Conv2d:
    """16 filters 7x7: random ones, a dead one, two copies, a red one, smooth gratings, a checkerboard."""
    conv = nn.Conv2d(3, 16, 7)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:7, :7] - 3
    weights = np.zeros((16, 3, 7, 7))
    for i in range(16):
        turn = np.pi * i / 16
        wave = np.cos(0.8 * (np.cos(turn) * x + np.sin(turn) * y) + i) * np.exp(-(x**2 + y**2) / 8)
        weights[i] = wave * rng.uniform(0.5, 1, (3, 1, 1))
    weights[4] = 1e-6
    weights[7] = 3 * weights[2]
    weights[9] = -0.5 * weights[2]
    weights[11] = 0
    weights[11, 0] = 0.7
    weights[13] = (-1.0) ** (x + y)
    conv.weight.data = torch.tensor(weights, dtype=torch.float32)
    return conv


def test_planted_faults_are_found_and_named(planted: nn.Conv2d) -> None:
    found = conclude(net(planted, nn.ReLU()))
    values = found.values
    assert {name: (v.value, v.n, v.kind, v.unit) for name, v in values.items()} == {
        "dead_fraction": (1 / 16, 16, "exact", "share"),
        "duplicate_fraction": (2 / 16, 16, "exact", "share"),
        "noise_fraction": (1 / 16, 16, "exact", "share"),
    }
    assert found.notes == (
        "1 of 16 filters are dead: 4.",
        "2 of 16 filters are like an earlier one: 7, 9.",
        "1 of 16 filters are as noisy as white noise: 13.",
    )
    labels = figure(found, "filters").data["labels"]
    assert [i for i, label in enumerate(labels) if "dead" in label] == [4]
    assert labels[9].endswith("like 2")


def test_a_random_layer_is_half_noise() -> None:
    conv = nn.Conv2d(1, 2000, 5)
    nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(0))
    value = conclude(net(conv), (1, 28, 28)).values["noise_fraction"].value
    assert value == pytest.approx(0.5, abs=0.06)


def test_the_sheet_shows_the_weights(planted: nn.Conv2d) -> None:
    found = conclude(net(planted))
    weights = planted.weight.detach().numpy()
    for name, limits in (
        ("filters", np.abs(weights).max(axis=(1, 2, 3))),
        ("filters-shared", np.full(16, np.abs(weights).max())),
    ):
        data = figure(found, name).data
        high, wide = data["tile"]
        picture = found.artifacts[data["file"]]
        expected = display(slices(weights), limits)
        scale = (high - 2) // 7
        assert high - 2 >= 40
        for i in range(16):
            row, column = divmod(i, data["columns"])
            tile = picture[row * high : (row + 1) * high - 2, column * wide : (column + 1) * wide - 2]
            np.testing.assert_array_equal(tile[scale // 2 :: scale, scale // 2 :: scale], expected[i])
        back = (expected / 127.5 - 1) * limits[:, None, None, None]
        assert (np.abs(back - slices(weights)).max(axis=(1, 2, 3)) <= limits / 255 * (1 + 1e-6)).all()
    np.testing.assert_array_equal(found.artifacts["weights.npy"], weights)
    own = found.artifacts["filters.png"]
    row, column = divmod(11, figure(found, "filters").data["columns"])
    assert own[row * 86 + 40, column * 86 + 40].tolist() == [255, 128, 128]  # the red-only kernel


def test_a_layer_of_zeros_has_no_nan() -> None:
    conv = nn.Conv2d(3, 8, 3)
    nn.init.zeros_(conv.weight)
    found = conclude(net(conv))
    assert found.values["dead_fraction"].value == 1
    assert (found.values["duplicate_fraction"].value, found.values["noise_fraction"].value) == (0, 0)
    tile = found.artifacts["filters.png"][:81, :81]
    assert (tile == 128).all()
    assert np.isfinite(found.artifacts["similarity.npy"]).all()


def test_small_kernels_leave_noise_out() -> None:
    found = conclude(net(nn.Conv2d(3, 8, 2)))
    assert "noise_fraction" not in found.values
    assert "noise_fraction is left out: 2 x 2" in found.notes[-1]


@pytest.mark.parametrize(("model", "shape", "said"), [
    (net(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2), "1 (Linear), is no 2-D convolution"),
    (net(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3)), (3, 16, 16), "48 input channels"),
    (net(nn.ReLU()), (3, 8, 8), "no layer of the model has weights"),
])  # fmt: skip
def test_what_does_not_see_the_image_is_not_applicable(model: nn.Module, shape: tuple[int, ...], said: str) -> None:
    found = conclude(model, shape)
    assert found.status == "not_applicable"
    assert said in found.reason


def test_norms_before_the_convolution_and_patch_embeddings_are_fine() -> None:
    found = conclude(net(nn.BatchNorm2d(3), nn.Identity(), nn.Conv2d(3, 12, 16, stride=16)))
    assert found.values["dead_fraction"].n == 12
    assert figure(found, "filters").data["tile"] == [82, 82]
    assert "16 x 16 over 3 channels (2)" in figure(found, "filters").caption


def test_the_order_is_that_of_the_forward_pass() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.late = nn.Conv2d(6, 4, 3)
            self.early = nn.Conv2d(3, 6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.late(self.early(x))

    found = conclude(Backwards())
    assert found.values["dead_fraction"].n == 6
    assert "(late)" in figure(found, "second").caption


def test_slices_of_the_second_convolution() -> None:
    model = net(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 20, 3))
    found = conclude(model)
    data = figure(found, "second").data
    assert (data["count"], data["columns"], data["tile"]) == (32, 4, [83, 83])
    assert "Hard to interpret" in figure(found, "second").caption
    weights = model[2].weight.detach().numpy()[:8]
    shown = found.artifacts["second.png"][13::83, 13::83, 0]  # the first weight of each slice
    expected = display(weights[:, :, :1, :1].reshape(32, 1, 1, 1), np.abs(weights).max(axis=(1, 2, 3)).repeat(4))
    np.testing.assert_array_equal(shown.ravel(), expected.ravel())


def test_at_most_512_are_shown_and_it_is_said() -> None:
    found = conclude(net(nn.Conv2d(1, 520, 3)), (1, 9, 9))
    assert figure(found, "filters").data["count"] == 512
    assert "The first 512 of 520" in figure(found, "filters").caption
    assert found.values["dead_fraction"].n == 520
    assert found.artifacts["similarity.npy"].shape == (128, 128)
    assert all(len(v) <= 1000 for f in found.figures for v in f.data.values() if isinstance(v, list))


def test_rows_are_even_where_the_count_allows() -> None:
    assert [columns_of(n, 44) for n in (64, 32, 96, 7, 23)] == [16, 16, 16, 7, 21]


def test_the_model_is_left_as_found_and_the_probe_explains_itself(planted: nn.Conv2d) -> None:
    before = planted.weight.detach().clone()
    conclude(net(planted))
    assert torch.equal(before, planted.weight)
    told = about(Filters)
    assert all((told.asks, told.formula, told.read, told.misleads))
