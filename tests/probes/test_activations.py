from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.fold import Batch
from auditor.preprocess import Geometry, Preprocess
from auditor.probes.activations.pictures import GAP, SIDE, arranged
from auditor.probes.activations.watch import SAMPLED, Watch

torch.set_num_threads(1)
SHAPE, COUNT = (16, 16), 40


class Planted(nn.Module):
    """ReLU6 after a convolution: channel 0 copies the image, 1 never fires, 2 is always at the ceiling, 3 is there in half of it."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 1)
        self.act = act
        self.fc = nn.Linear(4, 2)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([1.0, 0.0, 0.0, 50.0])[:, None, None, None]
            self.conv.bias[:] = torch.tensor([0.0, -3.0, 50.0, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


def images() -> np.ndarray:
    """The left half is dark, the right half bright: half of the positions are above the middle."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 100, (COUNT, *SHAPE, 1), dtype=np.uint8)
    data[:, :, 8:] += 150
    return data


def audited(model: nn.Module, path: Path, **settings: Any) -> Any:
    torch.manual_seed(0)
    preprocess = Preprocess(Geometry("L", SHAPE), (0.5,), (0.5,))
    data = (images(), np.arange(COUNT) % 2)
    return auditor.run(
        model,
        data,
        preprocess=preprocess,
        probes="activations",
        out=path / "audit",
        work=path / "work",
        device="cpu",
        config=settings,
    )


def test_silent_and_saturated_channels_are_counted_and_named(tmp_path: Path) -> None:
    audit = audited(Planted(nn.ReLU6()), tmp_path)
    values = audit["activations"].values
    assert {k: (v.value, v.n) for k, v in values.items()} == {"dead_fraction.act": (0.25, 4), "saturated_fraction.act": (0.5, 4)}
    assert audit["activations"].notes == (
        "1 of 4 channels of act give the same everywhere: 1.",
        "2 of 4 channels of act are saturated: 2, 3.",
    )
    (row,) = audit["activations"].figures[0].data["rows"]
    assert row["ceiling"] == "6"
    assert row["share"] == pytest.approx((0 + 0 + 1 + 0.5) / 4)
    table = np.load(tmp_path / "audit" / "artifacts" / "activations" / "layer-0-channels.npy")
    np.testing.assert_allclose(table[:, 2], [1, 0, 1, 1])
    np.testing.assert_allclose(table[:, 3], [0, 0, 1, 0.5])


def test_both_ends_of_tanh_are_ceilings(tmp_path: Path) -> None:
    model = Planted(nn.Tanh())
    with torch.no_grad():
        model.conv.bias[1] = -50
        model.conv.weight[1] = 0
    audit = audited(model, tmp_path)
    assert audit["activations"].figures[0].data["rows"][0]["ceiling"] == "1 and -1"
    assert audit["activations"].values["saturated_fraction.act"].value == 0.75
    assert audit["activations"].values["dead_fraction.act"].value == 0, "the same everywhere, but at the ceiling"


def test_without_a_ceiling_nothing_is_called_saturated(tmp_path: Path) -> None:
    model = Planted(nn.ReLU())
    with torch.no_grad():
        model.conv.weight[2] = 7
    assert set(audited(model, tmp_path)["activations"].values) == {"dead_fraction.act"}


def test_what_is_shown_is_the_output_of_the_layer(tmp_path: Path) -> None:
    model = Planted(nn.ReLU6())
    audit = audited(model, tmp_path, probes={"activations": {"images": 2}})
    figure = audit["activations"].figures[1]
    kept = np.load(tmp_path / "audit" / "artifacts" / "activations" / "layer-0.npy")
    for i, page in enumerate(figure.data["pages"]):
        pixels = torch.from_numpy(images()[page["sample"]].transpose(2, 0, 1)[None]).float() / 255
        expected = model.act(model.conv((pixels - 0.5) / 0.5))[0].detach().numpy()
        np.testing.assert_allclose(kept[i], expected, rtol=1e-3, atol=1e-3)
        assert "channel 0" in page["note"]
    assert figure.data["labels"] == ["channel 0", "channel 1, silent", "channel 2, saturated", "channel 3, saturated"]
    assert not model.act._forward_hooks


def maps(seed: int) -> Tensor:
    found = torch.randn(37, 5, 4, 4, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1.5)
    found[:, 2] = -0.25
    return found


@pytest.mark.parametrize("splits", [[37], [8, 29], [1, 7, 16, 13]])
def test_any_split_gives_what_brute_force_does(splits: list[int]) -> None:
    data, begin = maps(0), 0
    whole = Watch(("x",))
    for size in splits:
        part, index = Watch(("x",)), np.arange(begin, begin + size)
        for rows in np.array_split(index, 2):
            if len(rows):
                part.see(Batch(rows, rows, data[:1], None, data[:1], {"x": data[rows]}))
        again = Watch(("x",))
        again.load(part.save())
        whole.merge(again)
        begin += size
    seen, sampled = whole.seen["x"], data[::SAMPLED].double()
    assert (seen.images, seen.sampled) == (37, len(sampled))
    np.testing.assert_array_equal(seen.high, data.double().amax((0, 2, 3)))
    np.testing.assert_array_equal(seen.low, data.double().amin((0, 2, 3)))
    np.testing.assert_array_equal(seen.fired, (data > 0).any(3).any(2).sum(0))
    for end, value in ((seen.top, 1.5), (seen.bottom, -1.0)):
        np.testing.assert_array_equal(end.reached, (data == value).any(3).any(2).sum(0))
        np.testing.assert_allclose(end.held, (sampled == value).double().mean((2, 3)).sum(0), rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "high", "wide"), [(16, 112, 112), (40, 28, 28), (256, 7, 7), (1, 3, 3), (7, 14, 10), (64, 224, 224)]
)
def test_tiles_are_as_large_as_the_page_allows(count: int, high: int, wide: int) -> None:
    columns, scale = arranged(count, high, wide)
    rows = -(-count // columns)
    fits = [
        c
        for c in range(1, count + 1)
        if c * (wide * (scale + 1) + GAP) <= SIDE and -(-count // c) * (high * (scale + 1) + GAP) <= SIDE
    ]
    assert not fits, "a larger tile would fit"
    assert columns * (wide * scale + GAP) <= SIDE
    assert scale == 1 or rows * (high * scale + GAP) <= SIDE
