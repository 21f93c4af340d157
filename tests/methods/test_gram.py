"""Identities of the Gram matrix, in float64, and of the forward that gathers its maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from auditor.errors import TargetError
from auditor.methods.gram import gram, gram_loss, gram_share, phi_of, texture_layers, watched
from auditor.preprocess import Geometry, Preprocess
from auditor.target import load_target


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(2, 5, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def shuffled(maps: Tensor) -> Tensor:
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    return maps.flatten(2)[:, :, order].reshape(maps.shape)


def test_it_is_the_mean_of_outer_products(maps: Tensor) -> None:
    brute = sum(torch.outer(maps[1, :, y, x], maps[1, :, y, x]) for y in range(4) for x in range(6)) / 24
    torch.testing.assert_close(gram(maps)[1], brute, atol=1e-14, rtol=0)


def test_positions_do_not_matter_and_channels_do(maps: Tensor) -> None:
    torch.testing.assert_close(gram(shuffled(maps)), gram(maps), atol=1e-14, rtol=0)
    assert (gram(maps.flip(1)) - gram(maps)).abs().max() > 0.1


def test_it_scales_with_the_square_and_not_with_the_size(maps: Tensor) -> None:
    torch.testing.assert_close(gram(3 * maps), 9 * gram(maps), atol=1e-13, rtol=0)
    torch.testing.assert_close(gram(maps.repeat(1, 1, 2, 3)), gram(maps), atol=1e-14, rtol=0)


def test_it_is_positive_semidefinite(maps: Tensor) -> None:
    found = gram(maps)
    torch.testing.assert_close(found, found.transpose(1, 2), atol=1e-14, rtol=0)
    assert torch.linalg.eigvalsh(found).min() > -1e-12
    assert torch.linalg.eigvalsh(gram(maps[:, :, :1, :2]))[:, :3].abs().max() < 1e-12, "of rank two with two positions"


def test_the_loss_of_the_source_is_zero_and_that_of_nothing_is_one_share(maps: Tensor) -> None:
    wanted = gram(maps)
    assert torch.equal(gram_loss(wanted, wanted), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(gram_share(torch.zeros_like(wanted), wanted), torch.ones(2, dtype=torch.float64))
    other = gram(shuffled(maps).flip(0))
    brute = torch.stack([((a - b) ** 2).sum() / (4 * 25) for a, b in zip(other, wanted, strict=True)])
    torch.testing.assert_close(gram_loss(other, wanted), brute)
    torch.testing.assert_close(gram_share(10 * other, 10 * wanted), gram_share(other, wanted))


class Net(nn.Module):
    """A rectifier that is used twice, in place; counts how often its end is reached."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 32, 1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)
        self.ends = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.act(self.b(self.act(self.a(x)))))
        self.ends += 1
        return self.head(x.mean((2, 3)))


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval().requires_grad_(False)


def test_maps_are_those_of_the_layers_and_the_forward_ends_at_the_last(net: Net) -> None:
    x = torch.rand(2, 3, 8, 8).requires_grad_(True)
    first, second = watched(net, x, ["act", "act#1"])
    expected = torch.relu(net.a(x))
    assert torch.equal(first, expected)
    assert torch.equal(second, torch.relu(net.b(expected)))
    assert net.ends == 0
    assert torch.autograd.grad(second.sum(), x)[0].abs().sum() > 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize(
    ("layers", "said"),
    [(["act#1", "act"], "shallow to deep"), (["a", "act"], "in place"), (["x", "a"], "layer of the model"), ([], "at least one")],
)
def test_layers_that_cannot_be_watched_are_refused(net: Net, layers: list[str], said: str) -> None:
    with pytest.raises(TargetError, match=said):
        watched(net, torch.rand(1, 3, 8, 8), layers)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_texture_layers_begin_at_the_first_and_leave_out_the_coarse(net: Net) -> None:
    preprocess = Preprocess(Geometry("RGB", (64, 64)), (0.5,) * 3, (0.25,) * 3)
    target = load_target(net, preprocess=preprocess, device="cpu")
    assert texture_layers(target, 5) == ("act", "act#1"), "2 x 2 positions of 64 pixels are too coarse"
    assert texture_layers(target, 1) == ("act",)
    images = torch.rand(1, 3, 64, 64)
    found = phi_of(target, ("act",))(images)[0]
    torch.testing.assert_close(found, torch.relu(net.a((images - 0.5) / 0.25)))
