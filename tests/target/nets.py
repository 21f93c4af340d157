"""Small models that answer in every way a model can."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """3 x 8 x 8 images to `classes` logits; a batch norm and a ReLU that is used twice, once in place."""

    def __init__(self, num_classes: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Any:
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.conv2(x))
        return self.fc(self.pool(x).flatten(1))


class Wrapped(Net):
    """The same with its logits put into something."""

    def __init__(self, how: str, num_classes: int = 4) -> None:
        super().__init__(num_classes)
        self.how = how

    def forward(self, x: Tensor) -> Any:
        z = super().forward(x)
        return {
            "tuple": lambda: (z, x),
            "dict": lambda: {"logits": z, "more": x},
            "output": lambda: SimpleNamespace(logits=z),
            "softmax": lambda: z.softmax(1),
            "log_softmax": lambda: z.log_softmax(1),
            "sigmoid": lambda: z.sigmoid(),
            "classes": lambda: z.argmax(1),
            "nan": lambda: z * torch.nan,
            "map": lambda: x,
            "detector": lambda: [{"boxes": x, "labels": z} for _ in x],
            "segmentation": lambda: {"out": x},
            "nothing": lambda: None,
            "flat": lambda: z[:, 0],
            "plain": lambda: z,
        }[self.how]()


def seeded(make: Any, *args: Any, **kwargs: Any) -> Any:
    """A model with the weights of seed 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*args, **kwargs)
