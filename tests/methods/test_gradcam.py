from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import UsageError
from auditor.methods.gradcam import gradcam
from auditor.methods.saliency import gradient, gradient_x_input


class Pooled(nn.Module):
    """Maps, their mean, a linear head: Grad-CAM is the class activation map (Zhou 2016), over the number of places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


def net() -> Pooled:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Pooled().eval().requires_grad_(False)


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 3, 8, 12, generator=torch.Generator().manual_seed(1))


def test_it_is_the_class_activation_map() -> None:
    model, x = net(), images()
    maps = model.conv(x).relu()
    cam = torch.einsum("c,nchw->nhw", model.fc.weight[2] / (maps.shape[2] * maps.shape[3]), maps).clamp_min(0)
    expected = functional.interpolate(cam[:, None], size=(8, 12), mode="bilinear", align_corners=False)[:, 0]
    assert expected.max() > 0
    torch.testing.assert_close(gradcam(model, x, 2), expected)
    torch.testing.assert_close(gradcam(model, x, 2, layer="act", batch=2), expected)
    assert not any(m._forward_hooks for m in model.modules())


def test_of_a_transformer_it_is_the_grid_of_tokens_before_the_last_attention() -> None:
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5, depth=3).eval().requires_grad_(False)
        x = torch.randn(2, 3, 64, 64)
    found = gradcam(model, x, 1)
    assert found.shape == (2, 64, 64)
    assert found.amax((1, 2)).min() > 0
    after = gradcam(model, x, 1, layer="blocks.2")
    assert after.abs().max() == 0, "after the last attention only the class token counts"


def test_wrong_layers_are_told() -> None:
    for layer, words in (("nowhere", "expected a layer of the model"), ("fc", r"got \(3, 4\)")):
        with pytest.raises(UsageError, match=words):
            gradcam(net(), images(), 1, layer=layer)
    with pytest.raises(UsageError, match="found none"):
        gradcam(nn.Sequential(nn.Flatten(), nn.Linear(288, 3)), images(), 1)


def test_gradient_times_input_sums_to_a_linear_score() -> None:
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(288, 3, bias=False)), images()
    torch.testing.assert_close(gradient_x_input(model, x, 1).flatten(1).sum(1), model(x)[:, 1].detach())
    torch.testing.assert_close(gradient_x_input(model, x, 1), x * gradient(model, x, 1))
