from __future__ import annotations

import pytest
import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.occlusion import occlusion, spans

torch.set_num_threads(1)


class Linear(nn.Module):
    """(N,2) scores w_k . x + b_k."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.weight) + 3.0


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def net(*, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 5),
        )
    return layers.double().eval().requires_grad_(False)


@pytest.mark.parametrize("fill", [0.7, torch.tensor([0.1, -2.0, 0.5], dtype=torch.float64)])
def test_drop_of_a_linear_model_is_the_sum_over_the_window(fill: float | Tensor) -> None:
    model, x = Linear(draw(2, 3, 11, 9)), draw(2, 3, 11, 9, seed=1)
    found = occlusion(model, x, torch.tensor([1, 0]), window=(4, 3), stride=(3, 2), fill=fill)
    level = fill if isinstance(fill, float) else fill[:, None, None]
    for n, k in ((0, 1), (1, 0)):
        part = model.weight[k] * (x[n] - level)
        for r, (top, bottom) in enumerate(spans(11, 4, 3)):
            for s, (left, right) in enumerate(spans(9, 3, 2)):
                assert found.drops[n, r, s].item() == pytest.approx(part[:, top:bottom, left:right].sum().item(), abs=1e-10)


@pytest.mark.parametrize("tile", [3, 4])
def test_drops_of_disjoint_tiles_sum_to_the_whole(tile: int) -> None:
    model, x, v = Linear(draw(2, 3, 12, 10)), draw(2, 3, 12, 10, seed=1), draw(3, 12, 10, seed=2)
    found = occlusion(model, x, 1, window=tile, stride=tile, fill=v)
    torch.testing.assert_close(found.drops.sum((1, 2)), (model.weight[1] * (x - v)).sum((1, 2, 3)), atol=1e-10, rtol=0)


def test_an_occluder_equal_to_the_image_gives_exactly_nothing() -> None:
    x = draw(3, 3, 16, 16).float()
    model = net().float()
    found = occlusion(model, x, torch.tensor([0, 1, 4]), window=5, stride=3, fill=x, batch=7)
    assert torch.equal(found.drops, torch.zeros_like(found.drops))
    assert torch.equal(found.drop_map, torch.zeros(3, 16, 16))
    assert torch.equal(found.covered, found.probability[:, None, None].expand_as(found.covered))


@pytest.mark.parametrize(
    ("shape", "window", "stride"), [((16, 16), (4, 4), (2, 2)), ((17, 14), (5, 4), (3, 3)), ((9, 13), (9, 2), (4, 1))]
)
def test_equals_captum_at_borders_too(shape: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> None:
    model, x, classes = net(), draw(2, 3, *shape), torch.tensor([3, 1])
    ours = occlusion(model, x, classes, window=window, stride=stride, fill=0.3, batch=5).drop_map
    theirs = Occlusion(model).attribute(x, (3, *window), (3, *stride), baselines=0.3, target=classes)
    assert ours.abs().max() > 1e-3
    # captum keeps its sums in float32, whatever the model's type
    torch.testing.assert_close(ours[:, None].expand_as(theirs), theirs.double(), atol=1e-6, rtol=1e-5)


def test_probabilities_are_the_softmax_of_the_covered_image() -> None:
    model, x = net(), draw(1, 3, 12, 12)
    found = occlusion(model, x, 2, window=6, stride=6, fill=0.0)
    covered = x.clone()
    covered[:, :, 6:, :6] = 0
    assert found.covered[0, 1, 0].item() == pytest.approx(torch.softmax(model(covered), 1)[0, 2].item(), abs=1e-12)
    assert found.probability[0].item() == pytest.approx(torch.softmax(model(x), 1)[0, 2].item(), abs=1e-12)
    assert found.covered_map[0, 11, 0].item() == pytest.approx(found.covered[0, 1, 0].item())


def test_never_more_than_a_batch_at_once_and_the_same_map_for_any() -> None:
    model, x, seen = net(), draw(2, 3, 12, 12), []
    hook = model.register_forward_pre_hook(lambda _m, given: seen.append(len(given[0])))
    few = occlusion(model, x, 0, window=4, stride=2, batch=3).drops
    assert max(seen) == 3
    hook.remove()
    torch.testing.assert_close(few, occlusion(model, x, 0, window=4, stride=2, batch=64).drops, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("params", "says"), [({"window": 13}, "1..12"), ({"window": 4, "stride": 5}, "1..4"), ({"fill": torch.zeros(2)}, "fill")]
)
def test_what_does_not_fit_is_said(params: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        occlusion(net(), draw(1, 3, 12, 12), 0, **params)  # type: ignore[arg-type]
