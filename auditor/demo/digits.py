"""DigitsNet: a small convolutional network for 28x28 digits, with 7x7 filters that are worth looking at."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

CLASSES = tuple("0123456789")


class DigitsNet(nn.Module):
    """(N,1,28,28) normalised images to (N,10) logits; 25,386 parameters.

    Three ReLU convolutions (LeCun 1998, without its squashing functions), the first 7x7; features are (N,64), the spatial
    maximum of the last one, so that a small mark anywhere can reach the decision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 7, padding=3)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.relu3 = nn.ReLU()
        self.pool3 = nn.AdaptiveMaxPool2d(1)
        self.linear = nn.Linear(64, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N,1,H,W) normalised -> (N,10) logits."""
        x = self.pool1(self.relu1(self.conv1(images)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.pool3(self.relu3(self.conv3(x)))
        return cast(torch.Tensor, self.linear(torch.flatten(x, 1)))
