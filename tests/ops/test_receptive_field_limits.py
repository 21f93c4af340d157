"""Where a field is not exact, and that the model is left as found."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import TargetError
from auditor.ops.receptive_field import receptive_fields
from tests.ops.fields import Residual, Then

torch.set_num_threads(1)


def written(x: Tensor) -> Tensor:
    out = x.new_zeros(x.shape[0], 6, *x.shape[2:])
    out[:, 1:5] = x
    return out


def test_a_maximum_reads_what_a_dilated_convolution_reads() -> None:
    pool, twin = nn.MaxPool2d(3, 2, 1, dilation=2), nn.Conv2d(3, 3, 3, 2, 2 - 1, dilation=2, groups=3)
    images = torch.rand(1, 3, 20, 17)
    a, b = (receptive_fields(nn.Sequential(layer), images, ["0"])["0"] for layer in (pool, twin))
    assert np.array_equal(a.rows, b.rows)
    assert np.array_equal(a.columns, b.columns)
    assert a.size == b.size == (5, 5)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.after(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))))


def attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return functional.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


def by_hand(x: Tensor) -> Tensor:
    tokens = x.flatten(2)
    return (tokens @ (tokens.transpose(1, 2) @ tokens).softmax(-1)).reshape(x.shape)


def windows(x: Tensor) -> Tensor:
    cut = x.reshape(1, 4, 4, 3, 4, 3).permute(0, 2, 4, 1, 3, 5).reshape(16, 4, 9).mean(2)
    return cut.reshape(1, 4, 4, 4).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("function", "words", "whole"),
    [
        (attention, "attention", True), (by_hand, "attention", True), (windows, "windows", True),
        (lambda x: functional.unfold(x, 3, padding=1)[:, :4].reshape(x.shape), "im2col", True),
        (lambda x: functional.group_norm(x, 2), "statistics", False),
        (lambda x: functional.instance_norm(x), "statistics", False),
        (lambda x: x * x.amax((2, 3), keepdim=True), "gate", False),
        (lambda x: x.softmax(3), "softmax", True),
        (lambda x: functional.conv2d(x, x[0, :, None, :3, :3] * 1, padding=1, groups=4), "kernel depends", True),
        (lambda x: functional.pad(x, (1, 1, 1, 1), mode="circular"), "laid out differently", True),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_unknown_and_says_why(function: Callable[[Tensor], Tensor], words: str, whole: bool) -> None:
    model = Then(function).eval()
    field = receptive_fields(model, torch.rand(1, 3, 12, 12), ["end"])["end"]
    assert field.status == "UNKNOWN"
    assert words in field.reason
    assert field.box(5, 5) == ((0, 12, 0, 12) if whole else (3, 8, 3, 8))


def test_a_gate_keeps_the_local_box() -> None:
    fields = receptive_fields(Gated(), torch.rand(1, 3, 15, 15), ["stem", "gate", "after"])
    assert [f.status for f in fields.values()] == ["EXACT", "EXACT", "UNKNOWN"]
    assert fields["gate"].box(0, 0) == (0, 15, 0, 15)
    assert fields["after"].box(2, 4) == (2, 7, 4, 9)
    assert fields["after"].size == (5, 5)


def test_some_channels_of_a_concatenation_are_an_upper_bound() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.five, self.end, self.full = (
                nn.Conv2d(3, 2, 1),
                nn.Conv2d(3, 2, 5, padding=2),
                nn.Conv2d(2, 2, 1),
                nn.Conv2d(4, 2, 1),
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            both = torch.cat([self.one(x), self.five(x)], 1)
            return self.end(both.chunk(2, 1)[0]), self.full(both)

    fields = receptive_fields(Split(), torch.rand(1, 3, 9, 9), ["end", "full"])
    assert fields["end"].status == "UPPER_BOUND"
    assert fields["end"].box(4, 4) == (2, 7, 2, 7)  # the truth is one pixel
    assert (fields["full"].status, fields["full"].reason) == ("EXACT", "")


def test_a_buffer_that_is_written_in_place() -> None:
    field = receptive_fields(Then(written, 6), torch.rand(1, 3, 9, 9), ["end"])["end"]
    assert (field.status, field.box(4, 4)) == ("UPPER_BOUND", (2, 7, 2, 7))

    def through_a_view(x: Tensor) -> Tensor:
        y = x.clone()
        y.flatten(2).add_(functional.avg_pool2d(x, 5, 1, 2).flatten(2))
        return y

    field = receptive_fields(Then(through_a_view), torch.rand(1, 3, 15, 15), ["end"])["end"]
    assert field.status != "EXACT"
    top, bottom, left, right = field.box(7, 7)
    assert max(top, left) <= 3
    assert min(bottom, right) >= 12


def test_calls_of_a_module_that_is_used_again() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(self.conv(x)))

    fields = receptive_fields(Again(), torch.rand(1, 3, 9, 9), ["conv", "conv#1", "conv#2"])
    assert [f.size for f in fields.values()] == [(3, 3), (5, 5), (7, 7)]


def test_what_has_no_positions_sees_the_whole_image() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.Flatten(), nn.Linear(4 * 3 * 3, 2)).eval()
    field = receptive_fields(model, torch.rand(1, 3, 13, 13), ["2"])["2"]
    assert (field.status, field.box(0, 0)) == ("EXACT", (0, 11, 0, 11))  # the last two rows are never read


def test_vision_transformer_and_windows() -> None:
    vit = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 16).eval()
    fields = receptive_fields(vit, torch.rand(1, 3, 32, 32), ["conv_proj", "encoder", "heads"])
    assert [f.status for f in fields.values()] == ["EXACT", "UNKNOWN", "UNKNOWN"]
    assert fields["conv_proj"].box(1, 2) == (8, 16, 16, 24)
    swin = torchvision.models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4]).eval()
    fields = receptive_fields(swin, torch.rand(1, 3, 64, 64), ["features.0.0", "features.3"])
    assert [f.status for f in fields.values()] == ["EXACT", "UNKNOWN"]
    assert fields["features.3"].box(3, 3) == (0, 64, 0, 64)


def test_the_model_is_left_as_found_also_after_an_exception() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.never = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.conv(x)
            raise RuntimeError("in the middle")

    def hooks(model: nn.Module) -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    model = Broken().train()
    with pytest.raises(RuntimeError, match="in the middle"):
        receptive_fields(model, torch.rand(1, 3, 9, 9), ["conv"])
    assert hooks(model) == 0
    assert model.training
    assert torch.ones(1, requires_grad=True).mul(2).requires_grad
    fine = nn.Sequential(Residual(3, 4, 1), Residual(4, 6, 2)).eval()
    before = copy.deepcopy(fine.state_dict())
    with pytest.raises(TargetError, match="name one of"):
        receptive_fields(fine, torch.rand(1, 3, 9, 9), ["nowhere"])
    receptive_fields(fine, torch.rand(1, 3, 9, 9), ["0", "1"])
    assert hooks(fine) == 0
    assert all(torch.equal(before[k], v) for k, v in fine.state_dict().items())


def test_a_layer_that_is_not_reached() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x)

    with pytest.raises(TargetError, match="'b'"):
        receptive_fields(Idle(), torch.rand(1, 3, 9, 9), ["a", "b"])
    with pytest.raises(TargetError, match="'a#1'"):
        receptive_fields(Idle(), torch.rand(1, 3, 9, 9), ["a#1"])


def test_a_constant_layer_has_no_path_from_the_image() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.end = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(torch.ones_like(x))

    field = receptive_fields(Constant(), torch.rand(1, 3, 9, 9), ["end"])["end"]
    assert (field.status, field.reason) == ("UNKNOWN", "no path from the image to this layer was seen")


def test_padding_alone_sees_nothing() -> None:
    field = receptive_fields(nn.Sequential(nn.Conv2d(3, 3, 1, padding=2)), torch.rand(1, 3, 4, 4), ["0"])["0"]
    assert field.status == "EXACT"
    assert field.box(0, 2)[:2] == (0, 0)
    assert field.box(2, 2) == (0, 1, 0, 1)


def test_within_inference_mode_and_in_half_precision() -> None:
    model = torchvision.models.resnet18(weights=None).eval()
    expected = receptive_fields(model, torch.rand(1, 3, 65, 65), ["layer2"])["layer2"]
    with torch.inference_mode():
        inside = receptive_fields(model, torch.rand(1, 3, 65, 65), ["layer2"])["layer2"]
    half = receptive_fields(model.bfloat16(), torch.rand(1, 3, 65, 65).bfloat16(), ["layer2"])["layer2"]
    for field in (inside, half):
        assert (field.status, field.size) == ("EXACT", expected.size)
        assert np.array_equal(field.rows, expected.rows)
