"""What is odd about a unit, where its images come from, and what guided backprop finds in its patches."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api
from auditor.fold import Batch, concatenate
from auditor.methods.guided import Units, unit_maps
from auditor.ops.colour import signed
from auditor.ops.receptive_field import Field
from auditor.ops.tiles import GREY
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results
from auditor.probes.patches import Patches, tables
from auditor.probes.patches.guided import study_of
from auditor.probes.patches.odd import ORDER, Sheet, sheets
from auditor.probes.patches.watch import Watch
from auditor.types import Array
from tests.probes.patches_world import COUNT, SIDE, looked, network, results, world

torch.set_num_threads(1)
GRID = 12


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


def planted(facts: Any) -> dict[int, Array]:
    """Peaks (COUNT,) by unit, each odd in one way; unit 0 in none, 4 is the twin of 5."""
    rng = np.random.default_rng(3)
    rise = [1 + rng.random(COUNT) for _ in range(10)]
    images = np.arange(COUNT)
    return {
        0: rise[0], 1: np.zeros(COUNT), 2: np.where(images % 3 == 1, 6.0, rise[2]), 3: 3 + 0.01 * rise[3], 4: rise[4], 5: 2 * rise[4],
        6: rise[6], 7: rise[7] + 5 * (facts.dataset.labels == 3), 8: rise[8] + 5 * (images % 2 == 0), 9: rise[9] + 5 * (images % 3 == 0),
    }  # fmt: skip


def watched(peaks: dict[int, Array], names: tuple[str, ...] = ("early", "late")) -> Watch:
    """Layers of maps of 12 x 12 with these peaks, at places at random, of units 6 and 9 at one place."""
    rng = np.random.default_rng(4)
    maps = np.zeros((COUNT, len(peaks), GRID * GRID), np.float32)
    for unit, values in peaks.items():
        place = {6: 5 * GRID + 5, 9: GRID + 1}.get(unit)
        places = np.full(COUNT, place) if place is not None else rng.integers(0, GRID * GRID, COUNT)
        maps[np.arange(COUNT), unit, places] = values
    ends = np.stack([np.maximum(np.arange(GRID) * 2 - 2, 0), np.minimum(np.arange(GRID) * 2 + 4, SIDE)], axis=1)
    field = Field("EXACT", "", (SIDE, SIDE), (6, 6), (2.0, 2.0), (-2.0, -2.0), ends, ends)
    watch = Watch(dict.fromkeys(names, field), 9)
    held = torch.from_numpy(maps.reshape(COUNT, len(peaks), GRID, GRID))
    watch.see(Batch(np.arange(COUNT), np.zeros(COUNT), torch.zeros(0), None, torch.zeros(0), dict.fromkeys(names, held)))
    return watch


def odd_world(model: nn.Module) -> tuple[Any, tuple[Sheet, ...]]:
    _, facts = world(model, marked=True)
    facts.dataset.slices = {"site": np.where(np.arange(COUNT) % 2 == 0, "north", "south")}
    return facts, sheets(watched(planted(facts)), facts, most=12)


def test_each_sign_is_found_and_they_come_in_the_stated_order(model: nn.Module) -> None:
    _, (early, late) = odd_world(model)
    named = {unit: [ORDER[place] for place in places] for unit, places in early.odd.items()}
    assert list(named.items()) == [
        (9, ["same mark", "same place"]), (8, ["one source"]), (7, ["one class in an early layer"]), (1, ["never fires"]),
        (2, ["saturated"]), (3, ["always on"]), (5, ["twin"]), (6, ["same place"]),
    ]  # fmt: skip
    assert [early.why(unit) for unit in (9, 8, 5, 0)] == ["same mark, same place", "site = north only", "like unit 4", ""]
    assert list(late.odd) == [9, 8, 1, 2, 3, 5, 6]  # deep in the network one class is nothing odd
    assert 1 not in early.shown  # no image fires it, so there is nothing to show
    assert [unit for unit, why in early.shown.items() if why == early.why(unit) and why] == [9, 8, 7, 2, 3, 5]
    rows = tables.odd_units((early, late)).data["rows"]
    assert [(row["layer"], row["unit"]) for row in rows[:5]] == [
        ("early", 9),
        ("late", 9),
        ("early", 8),
        ("late", 8),
        ("early", 7),
    ]
    assert rows[4]["classes"] == "kind 3 ×9"
    assert rows[2]["sources"] == "site: north ×9"


def test_what_most_units_share_is_no_sign(model: nn.Module) -> None:
    _, facts = world(model)
    peaks = {unit: values for unit, values in planted(facts).items() if unit in (0, 1, 2)}
    peaks |= {unit: np.where((np.arange(COUNT) + unit) % 4 == 1, 6.0, 1.0) for unit in range(3, 6)}
    (sheet,) = sheets(watched(peaks, ("only",)), facts, most=12)
    assert sorted(sheet.layer.tied) == [2, 3, 4, 5]
    assert list(sheet.odd) == [1]
    assert "No unit: one mark" in tables.overview([sheet]).caption
    assert tables.overview([sheet]).data["rows"][0]["tied"] == 4


def test_but_a_source_that_most_units_go_by_is_one(model: nn.Module) -> None:
    _, facts = world(model)
    facts.dataset.slices = {"site": np.where(np.arange(COUNT) % 2 == 0, "north", "south")}
    rng = np.random.default_rng(0)
    peaks = {unit: rng.random(COUNT) + (np.arange(COUNT) % 2 == 0) for unit in range(8)}
    (sheet,) = sheets(watched(peaks, ("only",)), facts, most=12)
    assert [unit for unit, places in sheet.odd.items() if ORDER[places[0]] == "one source"] == list(sheet.odd)
    assert sorted(sheet.odd) == list(range(8))


def test_one_sign_does_not_fill_the_sheet(model: nn.Module) -> None:
    _, facts = world(model)
    peaks = {unit: values for unit, values in planted(facts).items() if unit in (0, 1)}
    peaks |= {unit: np.where((np.arange(COUNT) + unit) % 4 == 1, 6.0, 1.0 + unit) for unit in range(2, 10)}
    peaks |= {unit: np.random.default_rng(unit).random(COUNT) + 1 for unit in range(10, 20)}
    (sheet,) = sheets(watched(peaks, ("only",)), facts, most=12)
    assert sum(why == "saturated" for why in sheet.shown.values()) == 3
    assert len(sheet.shown) == 12
    assert sum(row["why"] == "saturated" for row in tables.odd_units([sheet]).data["rows"]) == 4
    assert "5 of 9 units" in tables.odd_units([sheet]).caption


def test_a_source_beyond_the_classes_is_told_with_its_images(model: nn.Module) -> None:
    target, facts = world(model, marked=True)
    facts.dataset.slices = {
        "site": np.where(np.arange(COUNT) % 3 == 0, "marked", "clean"), "class again": facts.dataset.labels.astype(str),
        "number": np.arange(COUNT).astype(str), "one": np.full(COUNT, "x"),
    }  # fmt: skip
    probe = Patches()
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert {n for n in finding.values if "source" in n} == {
        f"{measure}.site.{layer}" for measure in ("source_entropy", "one_source_units") for layer in ("first", "second")
    }
    assert finding.values["one_source_units.site.first"].value == 1
    positions = finding.artifacts["layer-1-positions.npy"]
    share = (positions % 3 == 0).mean(axis=1)
    bits = [0.0 if p in (0, 1) else -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) for p in share]
    assert finding.values["source_entropy.site.second"].value == pytest.approx(np.mean(bits))
    assert np.mean(bits) > 0
    said = next(note for note in finding.notes if "one value" in note)
    assert said.startswith(
        "1 of 3 units of first are fired most by images with one value of “site” only, beyond what their classes"
    )
    assert "(units 0; 0.0" in said
    column = finding.columns["patches.one_source_units.site.first"]
    assert np.nansum(column) == 9
    assert (np.flatnonzero(np.isfinite(column)) % 3 == 0).all()
    table = next(f for f in finding.figures if f.name == "sources").data["rows"]
    assert [row["layer"] for row in table] == ["first", "second"]
    assert table[0]["pure"] == table[0]["suspects"] == 1
    assert table[0]["expected"] < 0.1
    assert table[0]["least"] <= table[0]["dealt"] <= 1
    note = next(f for f in finding.figures if f.name == "layer-0").data["rows"][0]["note"]
    assert "site: marked ×9" in note
    held = finding.artifacts["layer-0-source-0.npy"]
    assert held[0].tolist() == [[1, 9]] + [[-1, -1]] * 8  # "marked" is the second name


def test_a_source_that_the_classes_explain_is_no_finding(model: nn.Module) -> None:
    target, facts = world(model)
    facts.dataset.images[30:40, 10:13, 10:13] = 255  # class 3 carries the blob, and comes from the south, as class 4 does
    facts.dataset.slices = {"site": np.where((facts.dataset.labels == 3) | (facts.dataset.labels == 4), "south", "north")}
    probe = Patches()
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert finding.values["source_entropy.site.first"].value is not None
    assert finding.values["one_source_units.site.first"].value == 0
    assert not any("“site”" in note for note in finding.notes)


def test_without_a_column_the_folders_serve_and_without_both_that_is_said(model: nn.Module) -> None:
    target, facts = world(model, marked=True)
    probe = Patches()
    plain = probe.conclude(target, facts, results(probe, target, facts))
    assert any(note.startswith("No column of the data says where an image comes from") for note in plain.notes)
    assert not any("source" in name for name in plain.values)
    names = [f"kind {i // 10}/{'logo' if i % 3 == 0 else 'bare'}/{i}.png" for i in range(COUNT)]
    facts.dataset.samples = [SimpleNamespace(key=f"{i}:0", name=name) for i, name in enumerate(names)]
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert finding.values["one_source_units.folder.first"].value == 1
    assert "folder = logo only" in next(f for f in finding.figures if f.name == "layer-0").data["rows"][0]["label"]
    facts.dataset.samples = [SimpleNamespace(key=f"{i}:0", name=f"kind {i // 10}/{i}.png") for i in range(COUNT)]
    assert not any("source" in name for name in probe.conclude(target, facts, results(probe, target, facts)).values)


def test_the_histograms_are_those_of_the_images(model: nn.Module) -> None:
    target, facts = world(model, marked=True)
    probe = Patches(top=7)
    finding = probe.conclude(target, facts, results(probe, target, facts))
    positions, held = finding.artifacts["layer-1-positions.npy"], finding.artifacts["layer-1-classes.npy"]
    assert held.shape == (6, 7, 2)
    for unit in range(6):
        counts = np.bincount(facts.dataset.labels[positions[unit]], minlength=6)
        assert {k: n for k, n in held[unit].tolist() if k >= 0} == {k: n for k, n in enumerate(counts.tolist()) if n}
        assert (np.diff(held[unit][:, 1]) <= 0).all()
    table = finding.artifacts["layer-0-units.npy"]
    assert table.shape == (4, 9)
    assert table[:, 7].tolist() == [0, ORDER.index("never fires"), *table[2:, 7]]
    assert table[:, 8].tolist() == [1, 0, 1, 1]


def test_the_strip_below_is_guided_backprop_of_that_unit_on_that_patch(model: nn.Module) -> None:
    target, facts = world(model, marked=True)
    watch = looked(Patches(top=4), target, facts)
    found = sheets(watch, facts, most=12)
    study = study_of(found)
    assert study is not None
    rows = concatenate([study.work(target, facts.dataset, study.items)])
    assert rows["unit"].tolist() == [[s.layer.number, u] for s in found for u in s.shown]
    assert rows["rectifiers"].tolist() == [[1, 1]] * len(rows["unit"])
    layer = found[0].layer
    for (_, unit), strip, limit in zip(rows["unit"][:3], rows["strip"], rows["limit"], strict=False):
        images = facts.dataset.load(layer.positions(unit), torch.device("cpu"))
        maps = unit_maps(model, images, Units("first", int(unit), torch.tensor(layer.places(unit))))[0].numpy()
        assert maps.any()
        for i, (row, column) in enumerate(layer.places(unit)):
            top, bottom, left, right = layer.field.box(row, column)
            cells = strip[:, 88 * i : 88 * i + 84].reshape(3, 28, 3, 28, 3)
            assert (cells == cells[:, :1, :, :1]).all()
            expected = np.full((3, 3, 3), GREY)
            down, across = top - (row - 1), left - (column - 1)
            expected[down : down + bottom - top, across : across + right - left] = signed(
                maps[i, :, top:bottom, left:right], float(limit)
            )
            assert np.array_equal(cells[:, 0, :, 0], expected)


def test_a_row_depends_on_its_item_alone_and_a_unit_with_fewer_images_ends_in_grey(model: nn.Module) -> None:
    target, facts = world(model)
    facts.dataset.images[[3, 17, 40], 10:13, 10:13] = 255  # three images fire unit 0 of the first layer
    found = sheets(looked(Patches(), target, facts), facts, most=12)
    study = study_of(found)
    assert study is not None
    together = study.work(target, facts.dataset, study.items)
    for i in (len(study.items) - 1, 0):
        alone = study.work(target, facts.dataset, study.items[i : i + 1])
        assert all(np.array_equal(alone[name][0], together[name][i]) for name in together)
    few = next(i for i, (layer, unit, *_) in enumerate(study.items) if (layer, unit) == (0, 0))
    assert study.items[few][2:].count(-1) == 3 * 6
    strip = together["strip"][few]
    assert (strip[:, : 3 * 88 - 4] != GREY).any()
    assert (strip[:, 3 * 88 : 4 * 88 - 4] == GREY).all()
    finding = Patches().conclude(target, facts, Results(looked(Patches(), target, facts), together))
    assert (
        finding.artifacts["layer-0-unit-0-guided.png"].shape
        == finding.artifacts["layer-0-unit-0.png"].shape
        == (84, 3 * 88 - 4, 3)
    )


class Turned(nn.Module):
    """Two convolutions; what lies between them is kept channels first, channels last, or as tokens behind a class token."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.between = nn.Conv2d(3, 6, 5, padding=2, stride=2), nn.Identity()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).relu()
        if self.kind == "last":
            x = x.permute(0, 2, 3, 1)
        if self.kind == "tokens":
            x = torch.cat([x.new_zeros(len(x), 1, 6), x.flatten(2).transpose(1, 2)], 1)
        x = self.between(x + 0)
        return self.fc(x.mean((2, 3)) if self.kind == "first" else x.flatten(1, -2).mean(1))


@pytest.mark.parametrize("kind", ["last", "tokens"])
def test_units_of_channels_last_layers_and_tokens_have_the_same_sheet(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8), np.arange(30) % 3
    preprocess = Preprocess(Geometry("RGB", (16, 16)), (0.5,) * 3, (0.25,) * 3)
    sections = {}
    for name in ("first", kind):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = Turned(name)
        audit = api.run(net, data, preprocess=preprocess, probes=["patches"], out=tmp_path / name, device="cpu", profile="quick")
        assert audit["patches"].status == "done", audit["patches"].traceback
        sections[name] = audit["patches"], audit.path / "artifacts" / "patches"
    here = {name: [f.title for f in section.figures].index("What fires between") for name, (section, _) in sections.items()}
    figures = [sections[name][0].figures[here[name]] for name in ("first", kind)]
    numbers = [figure.name.rpartition("-")[2] for figure in figures]
    for part in ("values", "positions", "places"):
        a, b = (np.load(sections[name][1] / f"layer-{n}-{part}.npy") for name, n in zip(("first", kind), numbers, strict=True))
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert [row["label"] for row in figures[0].data["rows"]] == [row["label"] for row in figures[1].data["rows"]]
    assert (
        figures[0].data["keys"] == figures[1].data["keys"] == [None, "guided_backprop"]
    )  # what a stamp on the method is shown at
    bare = next(f for f in sections["first"][0].figures if "No rectifier lies before it" in f.caption)
    assert bare.data["keys"] == [None, None], "there it is the plain gradient"
    if kind == "last":
        assert "5 x 5 px, EXACT" in figures[1].caption
        for a, b in zip(figures[0].data["rows"], figures[1].data["rows"], strict=True):
            for one, two in zip(a["cells"], b["cells"], strict=True):
                assert (sections["first"][1] / one["file"]).read_bytes() == (sections[kind][1] / two["file"]).read_bytes()
    else:
        assert "UNKNOWN" in figures[1].caption
        assert "rule applied at 1 of 1 rectifiers" in figures[1].caption
