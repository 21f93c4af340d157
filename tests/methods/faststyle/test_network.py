"""Identities of the style net, in float64 where they are exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auditor.methods.faststyle.network import ConditionalNorm, StyleNet, instance_norm, multiplications, one_hot

torch.set_num_threads(1)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def net() -> StyleNet:
    """Three styles, with gains and offsets that differ."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = StyleNet(3, 3, width=4, blocks=2).double()
        for norm in made.norms():
            norm.gamma.data += 0.3 * torch.randn_like(norm.gamma)
            norm.beta.data += 0.3 * torch.randn_like(norm.beta)
    return made.requires_grad_(False)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 5.0), (40.0, -3.0)])
def test_instance_norm_forgets_contrast_and_brightness(gain: float, offset: float) -> None:
    maps = 100 * drawn(2, 3, 9, 7)
    torch.testing.assert_close(instance_norm(gain * maps + offset), instance_norm(maps), atol=1e-6, rtol=0)
    assert (instance_norm(-maps) + instance_norm(maps)).abs().max() < 1e-12, "a gain below 0 turns it about"


def test_instance_norm_is_torchs() -> None:
    maps = drawn(3, 4, 6, 5, seed=2)
    torch.testing.assert_close(instance_norm(maps), torch.nn.functional.instance_norm(maps))
    assert torch.equal(instance_norm(maps[:, :, :1, :1]), torch.zeros(3, 4, 1, 1, dtype=torch.float64)), (
        "one position has no contrast"
    )


def test_a_batch_of_two_is_two_singles(net: StyleNet) -> None:
    images = drawn(2, 3, 20, 16)
    images[1] *= 0.2
    both = net(images, one_hot(3, [0, 2], images))
    for i, style in enumerate((0, 2)):
        torch.testing.assert_close(both[i : i + 1], net(images[i : i + 1], one_hot(3, [style], images)), atol=1e-12, rtol=0)


def test_one_hot_is_the_single_style(net: StyleNet) -> None:
    images = drawn(1, 3, 16, 16)
    for style in range(3):
        alone = StyleNet(3, 1, width=4, blocks=2).double()
        held = {
            name: value[style : style + 1] if name.endswith(("gamma", "beta")) else value
            for name, value in net.state_dict().items()
        }
        alone.load_state_dict(held)
        with torch.no_grad():
            expected = alone(images, torch.ones(1, 1, dtype=torch.float64))
        torch.testing.assert_close(net(images, one_hot(3, [style], images)), expected, atol=1e-12, rtol=0)
    apart = (net(images, one_hot(3, [0], images)) - net(images, one_hot(3, [1], images))).abs().max()
    assert apart > 1e-3, "the styles differ"


def test_interpolation_is_linear_in_gains_and_offsets(net: StyleNet) -> None:
    images, blend = drawn(1, 3, 16, 16), torch.tensor([[0.25, 0.0, 0.75]], dtype=torch.float64)
    mixed = StyleNet(3, 1, width=4, blocks=2).double()
    held = {
        name: 0.25 * value[0:1] + 0.75 * value[2:3] if name.endswith(("gamma", "beta")) else value
        for name, value in net.state_dict().items()
    }
    mixed.load_state_dict(held)
    with torch.no_grad():
        expected = mixed(images, torch.ones(1, 1, dtype=torch.float64))
    torch.testing.assert_close(net(images, blend), expected, atol=1e-12, rtol=0)
    norm, maps = ConditionalNorm(2, 4).double(), drawn(1, 4, 5, 5)
    norm.gamma.data, norm.beta.data = drawn(2, 4, seed=3), drawn(2, 4, seed=4)
    ends = [norm(maps, one_hot(2, [i], maps)) for i in (0, 1)]
    torch.testing.assert_close(norm(maps, torch.tensor([[0.3, 0.7]]).double()), 0.3 * ends[0] + 0.7 * ends[1])


@pytest.mark.parametrize("size", [(8, 8), (12, 12), (28, 28), (33, 18), (3, 5)])
def test_a_picture_keeps_its_size_and_its_range(net: StyleNet, size: tuple[int, int]) -> None:
    made = net(drawn(2, 3, *size), one_hot(3, [0, 1], drawn(1)))
    assert made.shape == (2, 3, *size)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1


def test_without_a_change_the_picture_keeps_its_order_at_the_brightness_of_the_style() -> None:
    net = StyleNet(1, 2, width=4, blocks=1).double().requires_grad_(False)
    net.last.weight.zero_()
    net.last.bias.zero_()
    net.colours.beta[1], net.colours.gamma[1] = 2.0, 0.1
    grey = torch.linspace(0, 0.3, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    for style in (0, 1):
        assert (net(grey, one_hot(2, [style], grey)).flatten().diff() > 0).all()
    bright = net(grey, one_hot(2, [1], grey))
    assert abs(float(bright.logit().mean()) - 2.0) < 1e-9
    assert abs(float(bright.logit().std(correction=0)) - 0.1) < 1e-3


def test_new_styles_begin_in_the_middle_of_the_known(net: StyleNet) -> None:
    before = [(n.gamma.clone(), n.beta.clone()) for n in net.norms()]
    net.begin_styles([0, 1], [2])
    for norm, (gamma, beta) in zip(net.norms(), before, strict=True):
        torch.testing.assert_close(norm.gamma[2], gamma[:2].mean(0))
        torch.testing.assert_close(norm.beta[2], beta[:2].mean(0))
        assert torch.equal(norm.gamma[:2], gamma[:2])


@pytest.mark.parametrize("width", [4, 16])
def test_the_work_is_counted(width: int) -> None:
    net, count = StyleNet(3, 1, width=width, blocks=2), 0

    def add(module: torch.nn.Conv2d, _given: object, output: Tensor) -> None:
        nonlocal count
        count += module.weight[0].numel() * output[0].numel()

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(add)
    net(torch.rand(1, 3, 32, 24), torch.ones(1, 1))
    assert multiplications(3, (32, 24), width, 2) == count
