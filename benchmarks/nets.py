"""Networks the size of CIFAR-10 that the stages share; their weights are random."""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """A basic block of He et al. 2016; where it widens, the short way is a 1x1 convolution."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.short: nn.Module = nn.Identity()
        if stride > 1 or given != width:
            self.short = nn.Sequential(nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(n,given,h,w) -> (n,width,h/stride,w/stride)."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        found: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.short(x))
        return found


def small_resnet(classes: int = 10, blocks: int = 3) -> nn.Module:
    """ResNet-20 for 32 px with 3 blocks a stage: 16, 32 and 64 channels, 41 million multiplications an image."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    given = 16
    for width in (16, 32, 64):
        for i in range(blocks):
            layers.append(Block(given, width, 2 if i == 0 and width > 16 else 1))
            given = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, classes))


def small_vgg(classes: int = 10) -> nn.Module:
    """Six convolutions for 32 px, of 32 to 128 channels, a pooling after every second."""
    layers: list[nn.Module] = []
    given = 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(given, width, 3, 1, 1), nn.ReLU()]
            given = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, classes))
