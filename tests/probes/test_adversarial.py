from __future__ import annotations

import itertools
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.fold import concatenate
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results, about
from auditor.probes.adversarial import Adversarial

torch.set_num_threads(1)
COUNT = 40
PREPROCESS = Preprocess(Geometry("L", (4, 6)), (0.5,), (0.25,))


class Linear(nn.Module):
    """Scores (0, w x + b) of the pixels x in [0,1], behind the normalisation of PREPROCESS."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(24, generator=torch.Generator().manual_seed(0)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        z = (x.flatten(1) * 0.25 + 0.5) @ self.w - 0.5 * self.w.sum()
        return torch.stack([torch.zeros_like(z), z], 1)


class Quantised(Linear):
    """The same behind a staircase: no gradient anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(((x * 0.25 + 0.5) * 255).round() / 255 / 0.25 - 2)


class Data:
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.bytes = rng.integers(40, 216, (COUNT, 4, 6, 1), dtype=np.uint8)
        self.labels = np.zeros(COUNT, dtype=np.int64)
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(COUNT)]
        self.preprocess = PREPROCESS

    def __len__(self) -> int:
        return COUNT

    def pixels(self, positions: Any) -> Any:
        return self.bytes[np.asarray(positions)]

    def load(self, positions: Any, device: Any) -> Tensor:
        return PREPROCESS.normalise(torch.from_numpy(self.pixels(positions)).permute(0, 3, 1, 2))


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.arange(COUNT)[::-1][:count].copy()


def world(kind: type[nn.Module] = Linear, *, wrong: int = 3) -> tuple[Any, Any]:
    model, data = kind().eval(), Data()
    scores = model(data.load(range(COUNT), "cpu"))
    predicted = scores.argmax(1).numpy()
    data.labels = predicted.copy()
    data.labels[:wrong] = 1 - data.labels[:wrong]
    confidence = scores.softmax(1).amax(1).numpy()
    seen = SimpleNamespace(scores=scores.numpy(), labels=data.labels, predicted=predicted, confidence=confidence)
    target = SimpleNamespace(module=model, device=torch.device("cpu"), preprocess=PREPROCESS, input_shape=(1, 4, 6), outputs=2)
    return target, Facts(dataset=data, seed=3, names=("no", "yes"), predictions=seen)


def concluded(probe: Adversarial, target: Any, facts: Any, chunk: int | None = None) -> Any:
    study = probe.study(target, facts, Results())
    assert study is not None
    size = chunk or study.chunk
    work = pickle.loads(pickle.dumps(study.work))
    parts = [work(target, facts.dataset, study.items[i : i + size]) for i in range(0, len(study.items), size)]
    return probe.conclude(target, facts, Results(rows=concatenate(parts)))


def figure(found: Any, name: str) -> Any:
    return next(f for f in found.figures if f.name == name)


@pytest.mark.parametrize("epsilon", [0.005, 0.02, 0.06])
def test_robust_accuracy_of_a_linear_model_is_its_closed_form(epsilon: float) -> None:
    target, facts = world()
    probe = Adversarial(images=COUNT, epsilon=epsilon, epsilons=(epsilon / 2,), fooling_images=0, queries=40)
    found = concluded(probe, target, facts)
    x = torch.from_numpy(facts.dataset.bytes / 255.0).flatten(1)
    w = target.module.w.double()
    margin = (2 * torch.from_numpy(facts.dataset.labels) - 1) * (x @ w - 0.5 * w.sum())
    robust = margin > epsilon * w.abs().sum()
    assert 0 < int(robust.sum()) < COUNT
    value = found.values["robust_accuracy"]
    assert (value.k, value.n) == (int(robust.sum()), COUNT)
    assert value.flags == (f"L-inf, epsilon {epsilon * 255:.3g}/255",)
    radius = 0.5 * (24 / 3072) ** 0.5
    other = found.values["robust_accuracy_l2"]
    assert other.k == int((margin > radius * w.norm()).sum())
    assert other.flags == (f"L2, epsilon {radius:.3g} of images in [0,1]",)
    far = torch.from_numpy(found.columns["adversarial.distance"])
    looked = torch.isfinite(far)
    assert 20 <= int(looked.sum()) <= 24
    assert torch.allclose(far[looked], (margin.clamp_min(0) / w.norm())[looked], rtol=0.02, atol=1e-6)
    np.testing.assert_array_equal(found.columns["adversarial.robust"], robust.double().numpy())


def test_the_curve_falls_and_begins_at_the_accuracy() -> None:
    target, facts = world(wrong=5)
    found = concluded(Adversarial(images=COUNT, fooling_images=0), target, facts)
    worst = found.figures[0].data["series"][1]["y"]
    assert worst[0] == pytest.approx(35 / COUNT)
    assert all(a >= b for a, b in itertools.pairwise(worst))
    smallest = found.columns["adversarial.smallest_epsilon"]
    assert (smallest[:5] == 0).all()


def test_a_model_without_gradients_is_void_not_robust() -> None:
    target, facts = world(Quantised)
    value = concluded(Adversarial(images=12, fooling_images=0), target, facts).values["robust_accuracy"]
    assert any(flag.startswith("void:") and "zero gradient" in flag for flag in value.flags)


def test_fooling_images_are_what_the_model_takes_for_the_target() -> None:
    target, facts = world()
    found = concluded(Adversarial(images=8, fooling_images=6, max_iterations=400), target, facts)
    assert found.values["fooling_rate"].value == 1
    assert found.values["median_iterations"].value > 0
    rows = figure(found, "fooled").data["rows"]
    assert len(rows) == 6
    for i, row in enumerate(rows):
        picture = found.artifacts[f"fooled-{i}.png"]
        got = target.module(PREPROCESS.normalise(torch.from_numpy(picture)[None].permute(0, 3, 1, 2))).argmax(1).item()
        assert facts.names[got] == row["label"].removeprefix("towards ")
        assert got != facts.predictions.predicted[row["sample"]]
        np.testing.assert_array_equal(found.artifacts[f"original-{i}.png"], facts.dataset.bytes[row["sample"]])


def test_any_split_of_the_items_gives_the_same() -> None:
    target, facts = world()
    one, other = (concluded(Adversarial(images=13, fooling_images=3), target, facts, chunk) for chunk in (1, 5))
    assert one.values == other.values
    assert all(np.array_equal(one.artifacts[name], other.artifacts[name]) for name in one.artifacts)


def test_noise_is_raised_to_a_class_by_a_wide_margin() -> None:
    target, facts = world()
    found = concluded(Adversarial(images=4, fooling_images=0, noise_images=3, max_iterations=600), target, facts)
    assert "noise" not in [f.name for f in found.figures], "it stands beside images only"
    found = concluded(Adversarial(images=4, fooling_images=1, noise_images=3, max_iterations=600), target, facts)
    rows = figure(found, "noise").data["rows"]
    assert len(rows) == 3
    for i, row in enumerate(rows):
        picture = found.artifacts[f"fooled-noise-{i}.png"]
        scores = target.module(PREPROCESS.normalise(torch.from_numpy(picture)[None].permute(0, 3, 1, 2)))[0]
        assert facts.names[int(scores.argmax())] == row["label"].removeprefix("towards ")
        assert (scores.max() - scores.min()).item() > 5
    assert len({found.artifacts[f"original-noise-{i}.png"].tobytes() for i in range(3)}) == 3


def test_what_each_attack_takes_adds_up() -> None:
    target, facts = world()
    found = concluded(Adversarial(images=COUNT, fooling_images=0, queries=30), target, facts)
    rows = figure(found, "attacks").data["rows"]
    ends = {row["norm"]: row["left"] for row in rows}
    assert ends == {"L-inf": found.values["robust_accuracy"].k, "L2": found.values["robust_accuracy_l2"].k}
    right = COUNT - 3
    assert sum(row["fell"] for row in rows if row["norm"] == "L-inf") == right - ends["L-inf"]
    assert sum(row["fell"] for row in rows if row["norm"] == "L2") == right - ends["L2"]


class Kinked(Linear):
    """The slope shows nothing but a ripple: gradients mislead, Square does not follow them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach() + 1e-4 * (x - x.detach()).flip(2))


def test_square_beating_the_gradient_voids_all_robustness_figures() -> None:
    target, facts = world(Kinked)
    found = concluded(Adversarial(images=COUNT, fooling_images=0, epsilon=0.06, queries=300), target, facts)
    for name in ("robust_accuracy", "robust_accuracy_8bit", "robust_accuracy_l2"):
        flags = found.values[name].flags
        assert any(flag.startswith("void:") and "finite differences" in flag for flag in flags)
        assert any(flag.startswith("void:") and "Square fools" in flag for flag in flags)
    raised = {row["sign"]: row["raised"] for row in figure(found, "signs").data["rows"]}
    assert raised["finite differences are not what the gradient says"] == "yes"
    assert raised["the loss has no slope in any pixel"] == "no"


def test_the_quick_profile_asks_for_no_strong_attack() -> None:
    target, facts = world()
    probe = Adversarial(**Adversarial.profiles["quick"])
    found = concluded(probe, target, facts)
    assert "robust_accuracy_l2" not in found.values
    assert "median_distance" not in found.values
    cheap, dear = (p.cost(target, facts.dataset) for p in (probe, Adversarial()))
    assert cheap.gradients < dear.gradients
    assert cheap.forwards < dear.forwards


def test_nothing_to_attack_is_said() -> None:
    target, facts = world()
    facts.predictions.labels = np.full(COUNT, -1)
    found = concluded(Adversarial(images=4, fooling_images=2), target, facts)
    assert "robust_accuracy" not in found.values
    assert "no sample that was chosen has a label" in found.notes[0]


@pytest.mark.parametrize("bad", [{"epsilon": 2.0}, {"epsilons": (-0.1,)}, {"steps": 0}, {"images": 0}])
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Adversarial(**bad)


def test_it_explains_itself() -> None:
    said = about(Adversarial)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Adversarial.id() == "adversarial"


def test_a_named_class_is_led_to_and_one_beyond_the_model_is_refused() -> None:
    target, facts = world()
    found = concluded(Adversarial(images=8, fooling_images=6, max_iterations=400, towards=(1,)), target, facts)
    for row in figure(found, "fooled").data["rows"]:
        already = facts.predictions.predicted[row["sample"]] == 1
        assert row["label"] == ("towards no" if already else "towards yes")
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        Adversarial(images=2, fooling_images=1, towards=(7,)).study(target, facts, Results())


def test_a_random_forward_voids_the_figure() -> None:
    target, facts = world()
    target.random = True
    value = concluded(Adversarial(images=8, fooling_images=0), target, facts).values["robust_accuracy"]
    assert any(flag.startswith("void:") and "random" in flag for flag in value.flags)


@pytest.mark.parametrize(
    ("epsilon", "length"), [(1e-4, 1e-3), (0.02, 0.1), (0.4, 3.0)], ids=["all stand", "some fall", "all fall"]
)
def test_the_plan_counts_what_the_attacks_will_take(epsilon: float, length: float) -> None:
    target, facts = world(wrong=0)
    probe = Adversarial(
        images=COUNT, epsilon=epsilon, epsilons=(epsilon / 2, epsilon), epsilon_l2=length, fooling_images=0, noise_images=0,
        tested=0, queries=60,
    )  # fmt: skip
    cost = probe.cost(target, facts.dataset)
    counted = {True: 0, False: 0}

    def count(_module: Any, given: Any) -> None:
        counted[torch.is_grad_enabled() and given[0].requires_grad] += len(given[0])

    handle = target.module.register_forward_pre_hook(count)
    concluded(probe, target, facts)
    handle.remove()
    most = COUNT * (1 + 2 * probe.steps + 20 * (1 + 2 * 2))
    assert abs(cost.gradients - counted[True]) < 0.15 * most
    assert abs(cost.forwards - counted[False]) < 0.15 * COUNT * 2 * 60
    assert (cost.gradients < 0.2 * most) == (epsilon > 0.1), "what falls at once is not counted as standing"
