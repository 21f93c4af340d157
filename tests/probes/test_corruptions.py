"""A model that looks at the mean brightness alone: which corruptions break it is known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api
from auditor.fold import concatenate
from auditor.methods.corruptions import KINDS, corrupt
from auditor.preprocess import Geometry, Preprocess
from auditor.probes.corruptions import Corruptions, values_of, work
from auditor.probes.corruptions.pictures import mildest
from auditor.probes.corruptions.seen import Seen, image_seed
from auditor.store import read_columns

torch.set_num_threads(1)
MEAN, STD = 0.5, 0.25


class Bright(nn.Module):
    """(n,C,H,W) -> (n,2): dark or bright, by the mean of the image in [0,1]; sharply."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        self.gain = nn.Parameter(torch.tensor(40.0))
        nn.init.constant_(self.conv.weight, 1 / 3)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.conv(x).mean((1, 2, 3)) * STD + MEAN
        return self.gain * torch.stack([0.5 - mean, mean - 0.5], 1)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("corrupted")
    level = np.where(np.arange(24) % 2, 150, 95)[:, None, None, None]
    images = np.clip(level + rng.integers(-60, 60, (24, 16, 16, 3)), 0, 255).astype(np.uint8)
    made = api.run(
        Bright(), (images, np.arange(24) % 2), preprocess=Preprocess(Geometry("RGB", (16, 16)), (MEAN,) * 3, (STD,) * 3),
        probes=[Corruptions(images=20)], out=folder / "audit", work=folder / "work", device="cpu",
    )  # fmt: skip
    return made, images


def test_what_moves_the_mean_breaks_a_model_of_the_mean_and_nothing_else_does(audit: Any) -> None:
    section = audit[0]["corruptions"]
    assert section.status == "done", section.reason
    found = {kind: section[f"accuracy.{kind}"].value for kind in KINDS}
    for kind in ("gaussian_noise", "shot_noise", "contrast", "pixelate", "gaussian_blur", "saturate", "defocus_blur"):
        assert found[kind] == 1.0, kind
    for kind in ("brightness", "darkness", "snow", "fog"):
        assert found[kind] < 0.9, kind
    named = [section[f"accuracy.{kind}"].value for kind in KINDS]
    assert section["worst_corruption_accuracy"].value == min(named)
    assert section["mean_corruption_accuracy"].value == pytest.approx(np.mean(named))
    assert section["corruption_drop"].value == pytest.approx(1 - np.mean(named))
    assert {section[key].n for key in section.values} == {20}
    assert "20 images 20 are right unchanged" in section.notes[0]


def test_the_rows_are_what_the_model_says_of_each_corrupted_image(audit: Any) -> None:
    made, images = audit
    columns = read_columns(made.path)
    held = np.flatnonzero(~np.isnan(columns["corruptions.mean_corruption_accuracy"]))
    assert len(held) == 20
    for p in held[:3]:
        unit = torch.from_numpy(images[p]).permute(2, 0, 1)[None].float() / 255
        seeds = [image_seed(0, str(columns["key"][p]))]
        for kind in ("brightness", "impulse_noise", "snow"):
            means = [corrupt(unit, kind, s, seeds=seeds).mean().item() for s in range(1, 6)]
            right = np.mean([(mean > 0.5) == bool(p % 2) for mean in means])
            assert columns[f"corruptions.accuracy.{kind}"][p] == pytest.approx(right)


def test_the_page_shows_every_kind_at_every_severity(audit: Any) -> None:
    made, _ = audit
    figures = {f.name: f for f in made["corruptions"].figures}
    rows = figures["gallery"].data["rows"]
    assert len(rows) == len(KINDS)
    assert all(len(row["cells"]) == 6 for row in rows)
    files = {cell["file"] for row in rows for cell in row["cells"]}
    assert len(files) == 1 + 5 * len(KINDS)
    assert all((Path(made.path) / "artifacts/corruptions" / file).is_file() for file in files)
    assert len(figures["table"].data["rows"]) == len(KINDS)
    assert figures["kinds"].data["labels"][-1] == "unchanged"
    lost = figures["lost"].data["rows"]
    assert lost
    assert all(row["cells"][0]["label"] != row["cells"][1]["label"] for row in lost)


def seen_of(right: Any, clean: Any) -> Seen:
    right = np.asarray(right, dtype=bool)
    kinds = tuple(KINDS)[: right.shape[1]]
    clean = np.asarray(clean, dtype=bool)
    return Seen(kinds, (1, 3), np.arange(len(right)), clean, clean * 0.5, ~right * 1, right * 0.5, right)


def test_the_drop_is_of_the_same_images() -> None:
    rng = np.random.default_rng(0)
    clean = rng.random(200) < 0.6
    right = np.repeat((clean & (rng.random(200) < 0.9))[:, None], 4, 1).reshape(200, 2, 2)
    from auditor.probes.corruptions import columns_of

    seen = seen_of(right, clean)
    values = values_of(seen, columns_of(seen, 200), 0)
    drop = values["corruption_drop"]
    assert drop.value == pytest.approx(clean.mean() - right.mean())
    assert drop.high - drop.low < 0.6 * (
        values["mean_corruption_accuracy"].high - values["mean_corruption_accuracy"].low
    )  # unpaired it would be wider than either


def test_the_mildest_that_fools_it_comes_by_severity_first() -> None:
    right = np.ones((2, 3, 2), dtype=bool)
    assert mildest(seen_of(right, [1, 1]), 0) is None
    right[0, 2, 0] = right[0, 0, 1] = False
    assert mildest(seen_of(right, [1, 1]), 0) == (2, 0)


def test_a_row_depends_on_its_item_alone(audit: Any) -> None:
    from types import SimpleNamespace

    pixels = audit[1]
    data: Any = SimpleNamespace(
        labels=np.arange(24) % 2, pixels=lambda p: pixels[p], samples=[SimpleNamespace(key=f"{i:064x}:0") for i in range(24)]
    )
    module = Bright()
    target: Any = SimpleNamespace(
        device=torch.device("cpu"), input_shape=(3, 16, 16), at_once=9, scores=lambda x: module(x).detach(),
        preprocess=SimpleNamespace(normalise=lambda x: (x - MEAN) / STD),
    )  # fmt: skip
    options: Any = {"kinds": tuple(KINDS), "severities": (1, 5), "seed": 3}
    items = [(4,), (7,), (11,)]
    whole = work(target, data, items, **options)
    single = concatenate([work(target, data, [item], **options) for item in reversed(items)])
    for name, rows in whole.items():
        np.testing.assert_allclose(rows, single[name][::-1], atol=1e-5)
    assert whole["told"].shape == (3, len(KINDS), 2)


def test_grey_images_have_no_colour_to_lose() -> None:
    assert "saturate" not in Corruptions().shown_kinds(1)
    assert Corruptions(kinds=("saturate",)).shown_kinds(1) == ()


@pytest.mark.parametrize(
    "wrong", [{"kinds": ("frost",)}, {"kinds": ()}, {"severities": (0,)}, {"severities": (3, 1)}, {"images": 0}], ids=str
)
def test_what_is_not_known_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Corruptions(**wrong)
