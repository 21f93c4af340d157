from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor.fold import Batch
from auditor.methods.topk import turn
from auditor.ops.receptive_field import receptive_fields
from auditor.ops.tiles import GREY
from auditor.probe import Results
from auditor.probes.patches import Patches
from auditor.probes.patches.layers import Layer
from auditor.probes.patches.odd import FEW, sheets
from auditor.probes.patches.pictures import patches, picture
from auditor.probes.patches.watch import Watch
from tests.probes.patches_world import COUNT, SIDE, Data, Facts, activations, layers, looked, network, results, world

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


def test_the_fold_is_exact_for_any_split_and_survives_saving(model: nn.Module) -> None:
    target, facts = world(model)
    probe = Patches(top=5)
    maps = activations(model, facts.dataset)["first"].numpy()
    whole = looked(probe, target, facts).save()
    peaks = maps.max(axis=(2, 3))
    np.testing.assert_array_equal(whole["0.values"], -np.sort(-peaks, axis=0)[:5].T)
    for channel in (0, 2, 3):
        for value, position, place in zip(*(whole[f"0.{n}"][channel] for n in ("values", "positions", "places")), strict=True):
            assert maps[position, channel].flat[place] == value
    np.testing.assert_array_equal(whole["0.fired"], (peaks > 0).sum(axis=0))
    assert whole["0.lowest"] == 0
    rng = np.random.default_rng(2)
    splits = [np.array_split(np.arange(COUNT), n) for n in (2, 7)] + [np.split(np.arange(COUNT), np.sort(rng.choice(COUNT, 5)))]
    for number, shards in enumerate(splits):
        other = looked(probe, target, facts, shards, batch=3 + number)
        again = probe.look(target)
        assert isinstance(again, Watch)
        again.load(other.save())
        for state in (other.save(), again.save()):
            assert state.keys() == whole.keys()
            assert all(np.array_equal(state[name], whole[name]) for name in whole)


def test_an_empty_fold(model: nn.Module) -> None:
    target, facts = world(model)
    empty = Patches().look(target)
    assert isinstance(empty, Watch)
    assert empty.save() == {}
    empty.load({})
    full = looked(Patches(), target, facts)
    before = {name: value.copy() for name, value in full.save().items()}
    full.merge(empty)
    assert all(np.array_equal(before[name], value) for name, value in full.save().items())
    assert Patches().conclude(target, facts, Results(look=empty)).status == "not_applicable"


def test_the_maxima_that_are_kept_are_those_of_a_fair_draw(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.probes.patches.watch.COMPARED", 20)
    target, facts = world(model)
    peaks = activations(model, facts.dataset)["second"].numpy().max(axis=(2, 3))
    drawn = np.argsort(turn(np.arange(COUNT)))[:20]
    for shards, batch in (
        ([np.arange(COUNT)], 16),
        (np.array_split(np.arange(COUNT), 7), 3),
        ([np.arange(30, 60), np.arange(30)], 60),
    ):
        seen = looked(Patches(), target, facts, shards, batch=batch).seen["second"]
        np.testing.assert_array_equal(seen.some, drawn)
        np.testing.assert_array_equal(seen.peaks, peaks[drawn])


def test_the_fields_are_those_of_the_network(model: nn.Module) -> None:
    target, facts = world(model)
    watch = looked(Patches(), target, facts)
    first, second = watch.field("first"), watch.field("second")
    assert (first.status, first.size, first.box(0, 5)) == ("EXACT", (3, 3), (0, 2, 4, 7))
    assert (second.size, second.jump, second.start, second.box(3, 3)) == ((5, 5), (2, 2), (-2, -2), (4, 9, 4, 9))
    watch.seen["first"].grid = np.array([23, 24])
    other = watch.field("first")
    assert (other.status, other.box(4, 4)) == ("UNKNOWN", (0, SIDE, 0, SIDE))
    assert "24 x 24 positions are not those of its maps of 23 x 24" in other.reason


def test_a_patch_is_the_pixels_in_the_box_and_its_value_is_what_they_give(model: nn.Module) -> None:
    target, facts = world(model)
    first, second = layers(Patches(top=4), target, facts)
    for layer in (first, second):
        assert len(layer.full) >= 2
        for unit in layer.full:
            images = facts.dataset.pixels(layer.positions(unit))
            for image, patch, (row, column) in zip(images, patches(layer, unit, images), layer.places(unit), strict=True):
                top, bottom, left, right = layer.field.box(row, column)
                assert np.array_equal(patch.pixels, image[top:bottom, left:right])
                nominal = [s + j * at for s, j, at in zip(layer.field.start, layer.field.jump, (row, column), strict=True)]
                assert patch.offset == (top - nominal[0], left - nominal[1])  # at the border it keeps its place in the field
    conv = target.model.conv
    images = facts.dataset.pixels(first.positions(2))
    image, (row, column), (down, across) = images[0], first.places(2)[0], patches(first, 2, images)[0].offset
    padded = np.zeros((3, 3))
    box = first.field.box(row, column)
    padded[down : down + box[1] - box[0], across : across + box[3] - box[2]] = image[box[0] : box[1], box[2] : box[3], 0] / 255
    value = (conv.weight[2, 0].numpy() * padded).sum() + conv.bias[2].item()
    assert value == pytest.approx(first.seen.tops.values[2, 0], abs=1e-5)


def test_a_unit_at_the_border_for_its_padding_is_no_mark(model: nn.Module) -> None:
    border = copy.deepcopy(model)
    with torch.no_grad():
        border.conv.weight[2], border.conv.bias[2] = -1.0, 20.0  # zero padding is the darkest thing there is
    target, facts = world(border)
    facts.dataset.images[:, :3, :3] = 1
    facts.dataset.images[:, 3:] += 60
    facts.dataset.images[:, :3, 3:] += 60
    first = layers(Patches(), target, facts)[0]
    assert 2 in first.at_one_place
    probe = Patches()
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert finding.values["marked_units.first"].value == 0


def test_the_most_telling_units_come_first_and_the_rest_is_spread(model: nn.Module) -> None:
    target, facts = world(model)
    watch = looked(Patches(), target, facts)
    sheet = sheets(watch, facts, most=6)[1]
    layer = sheet.layer
    assert sheet.odd == {2: (7,)}
    order = sorted({0, 1, 3, 4, 5}, key=lambda u: (round(layer.entropy[u], 6), -layer.seen.tops.values[u, 0], u))
    assert list(sheet.shown.items())[:4] == [(2, "same place"), *((u, FEW) for u in order[:3])]
    assert {u: why for u, why in sheet.shown.items() if not why} == dict.fromkeys(sorted(order[3:]), "")
    assert [len(replace(sheet, most=n).shown) for n in (32, 3, 1)] == [6, 3, 1]


def test_where_the_field_is_the_image_the_place_is_outlined(model: nn.Module) -> None:
    wide = nn.Sequential(nn.Conv2d(1, 3, 41, padding=20), nn.ReLU()).eval().requires_grad_(False)
    data = Data()
    seen = Watch(receptive_fields(wide, data.load([0], torch.device("cpu")), ["1"]), 3)
    with torch.no_grad():
        seen.see(
            Batch(
                np.arange(COUNT),
                data.labels,
                torch.zeros(0),
                None,
                torch.zeros(0),
                {"1": wide(data.load(np.arange(COUNT), "cpu")) + 1},
            )
        )  # type: ignore[arg-type]
    field = seen.field("1")
    layer = Layer("1", 0, seen.seen["1"], field, None, COUNT)
    first, (row, column) = patches(layer, 0, data.pixels(layer.positions(0)))[0], layer.places(0)[0]
    assert first.pixels.shape[0] > 0.6 * SIDE
    top, _, left, _ = field.box(row, column)
    assert first.cell == (
        row - top + first.offset[0],
        row - top + first.offset[0] + 1,
        column - left + first.offset[1],
        column - left + first.offset[1] + 1,
    )
    drawn = picture(layer, 0, Facts(dataset=data))
    assert (drawn == 255).any()
    assert (drawn == GREY).any() or field.box(row, column) == (0, SIDE, 0, SIDE)
