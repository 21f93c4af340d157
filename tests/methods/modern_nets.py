"""Nine networks on which hooks on nn.ReLU modules leave guided backprop the plain gradient, and a count of their rectifiers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import get_model

NINE = (
    "googlenet", "inception_v3", "mobilenet_v2", "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny", "vit_b_16", "swin_t", "maxvit_t",
)  # fmt: skip


def modern(name: str) -> tuple[nn.Module, Tensor]:
    """(the network with random weights and a head that is not zero, one image for it)."""
    more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = get_model(name, weights=None, **more).eval().requires_grad_(False)
        for module in model.modules():
            if isinstance(module, nn.Linear) and module.out_features == 1000:
                nn.init.normal_(module.weight, std=0.05)  # vit_b_16's head is zero
            if hasattr(module, "layer_scale"):
                module.layer_scale.fill_(1.0)  # convnext begins with blocks that add a millionth
        side = {"inception_v3": 299, "vit_b_16": 224, "swin_t": 224, "maxvit_t": 224}.get(name, 128)
        return model, torch.randn(1, 3, side, side)


class Counted(TorchDispatchMode):
    """Counts rectifying operations as they run, without autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__.rstrip("_")
        if name in ("relu", "hardtanh", "silu", "gelu", "hardswish", "leaky_relu", "elu", "clamp", "clamp_min", "relu6"):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


def cosine(first: Tensor, second: Tensor) -> float:
    """Of two maps, whatever their scale: random weights make slopes of 1e-15, where torch's own has a floor."""
    a, b = (value.flatten().double() / value.double().abs().max() for value in (first, second))
    return float(a @ b / (a.norm() * b.norm()))
