"""Saliency, integrated gradients, SmoothGrad and `attribute`."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegrated
from captum.attr import Saliency as CaptumSaliency
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.attribute import METHODS, attribute
from auditor.methods.integrated_gradients import completeness, integrated_gradients
from auditor.methods.occlusion import occlusion
from auditor.methods.saliency import gradient, saliency
from auditor.methods.smoothgrad import smoothgrad

torch.set_num_threads(1)
CLASSES = torch.tensor([3, 1, 0])


class Shifted(nn.Module):
    """Another module's scores, all raised by a constant that follows the image."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 7.25


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 5),
        )
    return layers.double().eval().requires_grad_(False)


def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 4)).double().eval().requires_grad_(False)


def test_saliency_of_a_linear_model_is_the_largest_weight() -> None:
    model = linear()
    weight = model[1].weight.reshape(4, 3, 6, 5)
    found = saliency(model, draw(3, 3, 6, 5), CLASSES)
    torch.testing.assert_close(found, weight[CLASSES].abs().amax(1), atol=0, rtol=0)


def test_saliency_equals_captum(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    theirs = CaptumSaliency(net).attribute(x.clone().requires_grad_(), target=CLASSES, abs=True).amax(1)
    assert theirs.max() > 1e-4
    torch.testing.assert_close(saliency(net, x, CLASSES, batch=2), theirs, atol=1e-14, rtol=1e-10)


def test_integrated_gradients_equal_captum(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    theirs = CaptumIntegrated(net).attribute(x.clone().requires_grad_(), 0.2, target=CLASSES, n_steps=17, method="gausslegendre")
    ours = integrated_gradients(net, x, CLASSES, steps=17, baseline=0.2, batch=4)
    assert theirs.abs().max() > 1e-4
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_constant_added_to_all_scores_changes_nothing(net: nn.Module, method: str) -> None:
    x = draw(3, 3, 12, 10)
    params = {"window": 4, "stride": 2} if method == "occlusion" else {}
    plain, shifted = (attribute(model, x, CLASSES, method, **params) for model in (net, Shifted(net)))
    assert plain.abs().max() > 1e-5
    torch.testing.assert_close(shifted, plain, atol=1e-12, rtol=1e-9)


def test_integrated_gradients_are_complete(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    fine = integrated_gradients(net, x, CLASSES, steps=400)
    rise = (net(x) - net(torch.zeros_like(x))).gather(1, CLASSES[:, None])[:, 0]
    torch.testing.assert_close(fine.sum((1, 2, 3)), rise, atol=1e-4, rtol=1e-3)
    assert (completeness(net, x, CLASSES, fine) < 1e-2).all()
    torch.testing.assert_close(completeness(net, x, CLASSES, fine * 0), torch.ones(3, dtype=torch.float64))


def test_completeness_is_exact_on_a_linear_model_with_one_step() -> None:
    x = draw(3, 3, 6, 5)
    found = integrated_gradients(linear(), x, CLASSES, steps=1, baseline=0.5)
    assert completeness(linear(), x, CLASSES, found, baseline=0.5).max() < 1e-10


def test_smoothgrad_without_noise_is_the_gradient(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    plain = gradient(net, x, CLASSES)
    torch.testing.assert_close(smoothgrad(net, x, CLASSES, samples=1, sigma=0.0), plain, atol=1e-14, rtol=1e-10)
    assert (smoothgrad(net, x, CLASSES, samples=2, sigma=0.3) - plain).abs().max() > 1e-4


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "smoothgrad"])
def test_an_image_does_not_depend_on_its_neighbours_or_the_batch(net: nn.Module, method: str) -> None:
    x = draw(3, 3, 12, 10)
    params = {} if method == "smoothgrad" else {"batch": 3}
    together = attribute(net, x, CLASSES, method)
    apart = torch.cat([attribute(net, x[i : i + 1], int(CLASSES[i]), method, **params) for i in (0, 1, 2)])
    torch.testing.assert_close(together, apart, atol=1e-13, rtol=1e-9)


def test_smoothgrad_leaves_the_random_numbers_alone(net: nn.Module) -> None:
    before = torch.get_rng_state()
    smoothgrad(net, draw(1, 3, 12, 10), 0, samples=4)
    assert torch.equal(before, torch.get_rng_state())


def test_attribute_is_the_method_with_the_stated_shape(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    assert torch.equal(attribute(net, x, 2, window=4, stride=4), occlusion(net, x, 2, window=4, stride=4).drop_map)
    shapes = {m: attribute(net, x, 2, m, **({"window": 4, "stride": 4} if m == "occlusion" else {})).shape for m in METHODS}
    flat = ("occlusion", "saliency", "gradcam")
    assert shapes == {m: (3, 12, 10) if m in flat else tuple(x.shape) for m in METHODS}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_model_is_left_as_found(method: str) -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten()), nn.Dropout(0.9), nn.Linear(192, 3)).double()
    model.train()
    model[1].eval()
    model[2].weight.requires_grad_(False)
    x = draw(2, 3, 8, 8)
    params = {"window": 4, "stride": 4} if method == "occlusion" else {}
    first, again = (attribute(model, x, 1, method, **params) for _ in range(2))
    assert torch.equal(first, again)  # dropout would show
    with pytest.raises(UsageError, match=r"0\.\.2"):
        attribute(model, x, 9, method, **params)
    assert [m.training for m in model] == [True, False, True]
    assert (model[2].weight.requires_grad, model[2].bias.requires_grad) == (False, True)
    assert model[2].bias.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "gradcamm"}, "occlusion, saliency, integrated_gradients, smoothgrad"),
        ({"method": "saliency", "window": 3}, "batch, got window"),
        ({"target": torch.tensor([0, 1, 2])}, "N = 2"),
        ({"target": 0.5}, "ints"),
        ({"inputs": torch.zeros(3, 8, 8)}, "N,C,H,W"),
        ({"inputs": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, "uint8"),
    ],
)
def test_what_cannot_be_done_is_said(net: nn.Module, given: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        attribute(**{"model": net, "inputs": draw(2, 3, 12, 12), "target": 0, **given})  # type: ignore[arg-type]


def test_a_score_that_ignores_the_image_has_no_gradient() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 3, dtype=x.dtype)

    assert torch.equal(gradient(Constant(), draw(2, 3, 4, 4), 0), torch.zeros(2, 3, 4, 4, dtype=torch.float64))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_gpu_gives_the_same_map(net: nn.Module, method: str) -> None:
    x = draw(3, 3, 12, 10)
    params = {"window": 4, "stride": 2} if method == "occlusion" else {"sigma": 0.0} if method == "smoothgrad" else {}
    here = attribute(net, x, CLASSES, method, **params)
    there = attribute(net.cuda(), x.cuda(), CLASSES, method, **params)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, atol=1e-10, rtol=1e-7)
