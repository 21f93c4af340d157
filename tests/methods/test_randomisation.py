"""Randomisation and deletion: what puts a map to the test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from auditor.methods.deletion import area, cell_numbers, cell_order, deletion, hidden_counts
from auditor.methods.randomisation import in_words, levels, randomise, spearman, top_count, weighted_layers

torch.set_num_threads(1)


class Net(nn.Module):
    """Registered in another order than it runs; with an attention, a module that is never run, and a bare vector."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.BatchNorm2d(8)
        self.stem = nn.Conv2d(3, 8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.relu(self.norm(self.stem(x))).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().eval().requires_grad_(False)
        model.norm.weight.uniform_(0.5, 2)
        model.norm.running_mean.normal_()
        model.attention.in_proj_bias.normal_()
    return model


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    mine, theirs = dict(before.named_parameters()), dict(after.named_parameters())
    return {name for name in mine if not torch.equal(mine[name], theirs[name])}


def test_layers_come_in_the_order_of_the_forward(net: Net) -> None:
    assert weighted_layers(net, torch.zeros(1, 3, 6, 6)) == ["stem", "norm", "attention", "attention.out_proj", "head"]
    assert not any(m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize(
    ("fraction", "touched"),
    [
        (0.01, {"head.weight", "head.bias"}),
        (0.6, {"head.weight", "head.bias", "attention.out_proj.weight", "attention.in_proj_weight", "attention.in_proj_bias"}),
    ],
)
def test_the_top_is_randomised_and_the_original_left_alone(net: Net, fraction: float, touched: set[str]) -> None:
    layers = weighted_layers(net, torch.zeros(1, 3, 6, 6))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fresh = randomise(net, fraction=fraction, layers=layers, seed=1)
    assert changed(net, fresh) - {"attention.out_proj.bias"} == touched
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(p.requires_grad for p in fresh.parameters())


def test_cascading_same_seed_same_weights_and_other_seed_others(net: Net) -> None:
    layers = weighted_layers(net, torch.zeros(1, 3, 6, 6))
    state = torch.get_rng_state()
    few, many, other = (randomise(net, fraction=f, layers=layers, seed=s) for f, s in ((0.2, 0), (1.0, 0), (0.2, 1)))
    assert torch.equal(few.head.weight, many.head.weight)
    assert not torch.equal(few.head.weight, other.head.weight)
    assert torch.equal(many.norm.weight, torch.ones(8))
    assert torch.equal(many.norm.running_mean, torch.zeros(8))
    assert torch.equal(state, torch.get_rng_state())


def test_weights_without_a_way_to_reset_keep_their_deviation_and_vectors_their_values() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(100, 100, generator=torch.Generator().manual_seed(0)) * 0.02)
            self.vector = nn.Parameter(torch.arange(50.0))
            self.zero = nn.Parameter(torch.zeros(10, 16))

        def forward(self, x: Tensor) -> Tensor:
            return x

    model = Bare()
    fresh = randomise(model)
    assert fresh.matrix.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(np.corrcoef(fresh.matrix.detach().flatten(), model.matrix.detach().flatten())[0, 1]) < 0.05
    assert torch.equal(fresh.vector.sort().values, model.vector)
    assert not torch.equal(fresh.vector, model.vector)
    assert fresh.zero.std().item() == pytest.approx(0.25, rel=0.3)


def test_top_count_rounds_up_to_at_least_one() -> None:
    assert [top_count(20, 0.25), top_count(21, 0.25), top_count(3, 0.01), top_count(10, 1.0)] == [5, 6, 1, 10]


def test_levels_rise_from_the_head_and_each_counts_once() -> None:
    assert levels(99, (0.0, 0.1, 0.25, 1.0)) == (1, 10, 25, 99)
    assert levels(4, (1.0, 0.25, 0.0, 0.1)) == (1, 4)


def test_layers_in_words() -> None:
    assert in_words(1, 4) == "the head (1 of 4 layers)"
    assert in_words(25, 99) == "the top 25 of 99 layers"


def test_spearman_equals_scipy_ties_included() -> None:
    a, b = (torch.from_numpy(np.random.default_rng(s).integers(0, 9, (3, 8, 7)).astype(float)) for s in (0, 1))
    np.testing.assert_allclose(spearman(a, b), [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)])
    np.testing.assert_allclose(spearman(a, -a), -1)
    assert np.isnan(spearman(a, torch.ones_like(a))).all()


def test_cells_partition_the_image_and_are_ordered_by_their_mean() -> None:
    numbers = cell_numbers((5, 4), 2, torch.device("cpu"))
    assert numbers.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3], [4, 4, 5, 5]]
    values = torch.tensor([1.0, 5.0, 1.0, 0.0, 9.0, 5.0])
    assert cell_order(values[numbers][None], 2).tolist() == [[4, 1, 5, 0, 2, 3]]


def test_deletion_hides_in_order_from_nothing_to_everything() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.sum((1, 2, 3)), torch.zeros(len(x), dtype=x.dtype)], 1)

    x = torch.tensor([[3.0, 1.0], [0.0, 2.0]], dtype=torch.float64)[None, None]
    best, worst = torch.tensor([[0, 3, 1, 2]]), torch.tensor([[2, 1, 3, 0]])
    curve = deletion(Sum(), x, 0, best, cell=1, steps=4, fill=0.0, batch=2)
    torch.testing.assert_close(curve, torch.sigmoid(torch.tensor([[6.0, 3.0, 1.0, 0.0, 0.0]], dtype=torch.float64)))
    other = deletion(Sum(), x, 0, worst, cell=1, steps=4)
    assert torch.equal(cell_order(x[:, 0], 1), best)
    counts = hidden_counts(4, 4)
    assert area(curve.numpy(), counts)[0] < area(other.numpy(), counts)[0]
    assert area(np.array([[1.0, 1.0, 0.0]]), np.array([0, 1, 4]))[0] == pytest.approx(0.25 + 0.375)
