"""Twelve defences that hide the gradient and nothing else, laid around any model of images in [0,1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Defence(nn.Module):
    """A defence around a model that takes images in [0,1]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


class Quantised(Defence):
    """Eight grey levels: no slope anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * 7).round() / 7)


class Binarised(Defence):
    """A hard threshold."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x > 0.5).to(x.dtype))


class Resized(Defence):
    """Resized and padded at random (Xie 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        side = int(torch.randint(22, 28, ()))
        left, top = (int(torch.randint(0, 28 - side + 1, ())) for _ in range(2))
        small = functional.interpolate(x, size=(side, side), mode="bilinear")
        return self.inner(functional.pad(small, (left, 28 - side - left, top, 28 - side - top)))


class Noisy(Defence):
    """Noise on the input."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x + 0.1 * torch.randn_like(x)).clamp(0, 1))


class Saturated(Defence):
    """Scores a thousand times as large: the softmax is 0 or 1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1000 * self.inner(x)


class Detached(Defence):
    """The forward sees the image, the backward only a faint blurred copy of it."""

    def forward(self, x: Tensor) -> Tensor:
        blurred = functional.avg_pool2d(x, 7, 1, 3)
        return self.inner(x.detach() + 0.05 * (blurred - blurred.detach()))


class Backwards(Defence):
    """The slope points the other way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(2 * x.detach() - x)


class Shattered(Defence):
    """A fast ripple on every score: the slope is the ripple's."""

    def forward(self, x: Tensor) -> Tensor:
        scores = self.inner(x)
        return scores + 0.3 * torch.sin(4000 * x.flatten(1)[:, : scores.shape[1]] + 300 * scores)


class Rounded(Defence):
    """Scores rounded to whole numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).round()


class Purified(Defence):
    """Before it answers, it takes steps that raise its own confidence."""

    def forward(self, x: Tensor) -> Tensor:
        at = x.detach()
        with torch.enable_grad():
            for _ in range(2):
                at = at.detach().requires_grad_(True)
                sure = self.inner(at).logsumexp(1).sum()
                at = (at + 0.01 * torch.autograd.grad(sure, at)[0].sign()).clamp(0, 1)
        return self.inner(at.detach() + x - x.detach())


class Thermometer(Defence):
    """Each pixel as a sum of hard steps (Buckman 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.linspace(0.05, 0.95, 10, dtype=x.dtype, device=x.device)
        return self.inner((x[..., None] > steps).to(x.dtype).mean(-1))


class Mixed(Defence):
    """Rounded in a rotation of all pixels, as a codec rounds its coefficients."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__(inner)
        mix = torch.linalg.qr(torch.randn(784, 784, generator=torch.Generator().manual_seed(0)))[0]
        self.register_buffer("mix", mix)

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.mix.to(x)
        kept = (z * 40).round() / 40
        return self.inner((kept @ self.mix.T.to(x)).clamp(0, 1).view_as(x))


DEFENCES = (
    Quantised, Binarised, Resized, Noisy, Saturated, Detached, Backwards, Shattered, Rounded, Purified, Thermometer, Mixed,
)  # fmt: skip
