"""Loading, contract, looks, layers, and giving the model back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from auditor.errors import ConfigError, ContractError, TargetError
from auditor.ops.maps import Layout
from auditor.preprocess import Geometry, Preprocess
from auditor.target import load_target
from auditor.target.trace import Call, choose, layouts, trace
from tests.target import nets

EIGHT = Preprocess(Geometry("RGB", (8, 8)), (0.5,) * 3, (0.25,) * 3)


def images(n: int = 2) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def opened(model: nn.Module, **options: Any) -> Any:
    return load_target(model, preprocess=EIGHT, device="cpu", **options)


@pytest.mark.parametrize("how", ["plain", "tuple", "dict", "output", "log_softmax"])
def test_scores_are_found_in_whatever_holds_them(how: str) -> None:
    model = nets.seeded(nets.Wrapped, how)
    target = opened(model)
    plain = nets.Net.forward(model, images())
    expected = plain.log_softmax(1) if how == "log_softmax" else plain
    torch.testing.assert_close(target.look(images()).scores, expected)
    assert target.outputs == 4
    assert target.head == "fc"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("softmax", "sum to 1"), ("sigmoid", "multi-label"), ("classes", "class numbers"), ("nan", "NaN"), ("map", "segmentation"),
        ("detector", "a detector"), ("segmentation", "a segmentation model"), ("nothing", "NoneType"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(how: str, words: str) -> None:
    with pytest.raises(ContractError, match=words) as caught:
        opened(nets.seeded(nets.Wrapped, how))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["plain", "flat"])
def test_one_logit_is_a_binary_classifier(how: str) -> None:
    model = nets.seeded(nets.Wrapped, how, num_classes=1)
    target = opened(model)
    z = nets.Net.forward(model, images())
    assert target.outputs == 2
    torch.testing.assert_close(target.look(images()).scores, torch.cat([torch.zeros_like(z), z], 1))
    assert any("One logit" in note for note in target.notes)
    assert target.head == "fc"


def test_features_are_what_the_head_is_given() -> None:
    model = nets.seeded(nets.Net)
    look = opened(model).look(images())
    torch.testing.assert_close(model.fc(look.features), look.scores)


@pytest.mark.parametrize("how", ["detector", "segmentation", "map", "softmax"])
def test_the_task_features_needs_no_scores(how: str) -> None:
    target = opened(nets.seeded(nets.Wrapped, how), task="features")
    look = target.look(images(3))
    assert target.outputs == 0
    assert look.scores is None
    assert look.features.shape == (3, 8)


def test_activations_are_those_of_the_call_and_are_kept_from_later_operations() -> None:
    model = nets.seeded(nets.Net)
    target = opened(model)
    names = ("conv1", "bn1", "act", "act#1")
    found = target.look(images(), names).activations
    with torch.no_grad():
        conv = model.conv1(images())
        norm = model.bn1(conv)
        first = norm.relu()
        second = model.conv2(first).relu()
    for name, expected in zip(names, (conv, norm, first, second), strict=True):
        torch.testing.assert_close(found[name], expected)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_activations_are_shown_as_they_are_computed_and_kept_where_that_is_asked_for() -> None:
    target, names, shown = opened(nets.seeded(nets.Net)), ("conv1", "bn1", "act", "act#1"), {}
    expected = target.look(images(), names).activations

    def show(name: str, output: torch.Tensor) -> bool:
        shown[name] = output.clone()  # a later operation may overwrite it
        return name == "bn1"

    found = target.look(images(), names, show).activations
    assert list(shown) == list(names)
    assert set(found) == {"bn1"}
    for name in names:
        assert torch.equal(shown[name], expected[name])
    assert torch.equal(found["bn1"], expected["bn1"])


def test_no_hook_is_left_when_the_forward_raises() -> None:
    target = opened(nets.seeded(nets.Net))
    with pytest.raises(ContractError):
        target.look(torch.zeros(2, 5, 8, 8), ("act",))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in target.model.modules())
    with pytest.raises(TargetError, match="nowhere"):
        target.look(images(), ("nowhere",))


def test_the_model_is_frozen_and_given_back_as_it_was_found() -> None:
    model = nets.seeded(nets.Net)
    model.train()
    model.bn1.eval()
    model.conv1.weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    target = opened(model)
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.modules())
    target.look(images(), ("act",))
    target.restore()
    assert model.training
    assert model.conv2.training
    assert not model.bn1.training
    assert not model.conv1.weight.requires_grad
    assert model.conv2.weight.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_refused_model_is_given_back_too() -> None:
    model = nets.seeded(nets.Wrapped, "softmax").train()
    with pytest.raises(ContractError):
        opened(model)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_a_preprocessing_is_never_assumed() -> None:
    with pytest.raises(TargetError, match="none is assumed"):
        load_target(nets.Net(), device="cpu")
    with pytest.raises(TargetError, match="fixes no size"):
        load_target(nets.Net(), preprocess=Preprocess(Geometry(), (0.5,) * 3, (0.5,) * 3), device="cpu")
    free = Preprocess(Geometry(), (0.5,) * 3, (0.5,) * 3)
    assert load_target(nets.Net(), preprocess=free, device="cpu", input_shape=lambda _: (3, 9, 7)).input_shape == (3, 9, 7)


def test_a_batch_that_does_not_fit_is_told() -> None:
    with pytest.raises(ContractError, match="number of channels"):
        opened(nets.Net(channels=1))


def test_wrong_options_are_told() -> None:
    with pytest.raises(ConfigError, match="classification or features"):
        opened(nets.Net(), task="detection")
    with pytest.raises(ConfigError, match="auto, cpu, cuda or mps"):
        load_target(nets.Net(), preprocess=EIGHT, device="tpu")
    with pytest.raises(TargetError, match=r"torch\.nn\.Module"):
        load_target(7)  # type: ignore[arg-type]


def test_the_digest_follows_weights_and_structure() -> None:
    first = opened(nets.seeded(nets.Net)).digest
    assert opened(nets.seeded(nets.Net)).digest == first
    other = nets.seeded(nets.Net)
    with torch.no_grad():
        other.fc.bias[0] += 1e-6
    assert opened(other).digest != first
    assert opened(nets.seeded(nets.Wrapped, "plain")).digest != first, "the same weights in another class"


RESIDUAL = [
    ("resnet18", ("layer1", "layer2", "layer3", "layer4")),
    ("squeezenet1_1", ("classifier.2",)),
    ("swin_t", ("permute",)),
]


@pytest.mark.parametrize(("name", "expected"), RESIDUAL)
def test_chosen_layers_are_blocks_spread_over_the_depth(name: str, expected: tuple[str, ...]) -> None:
    model = nets.seeded(torchvision.models.get_model, name, weights=None).eval()
    calls, _ = trace(model, torch.zeros(2, 3, 224, 160))
    chosen = choose(calls, "spatial", 5)
    assert set(expected) <= set(chosen)
    known = {call.name: call for call in calls}
    grids = [known[layer].layout.grid for layer in chosen]
    assert all(abs(h * 160 - w * 224) <= 448 for h, w in grids), "maps, with the aspect ratio of the image"
    assert [known[layer].same for layer in chosen] == sorted(known[layer].same for layer in chosen)
    assert not any(known[layer].overwritten for layer in chosen)


def test_few_layers_are_the_last_of_them() -> None:
    target = opened(nets.seeded(nets.Net))
    assert target.choose("spatial", 1) == ("act#1",)
    assert target.choose("spatial", 0) == ()
    assert target.choose("any", 99)[-1] == "fc"


class Noisy(nets.Net):
    """Random in eval mode."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x + torch.randn_like(x))


def test_a_random_forward_is_noted() -> None:
    assert opened(nets.seeded(Noisy)).random
    assert not opened(nets.seeded(nets.Net)).random


class Picky(nets.Net):
    """Fails on more than three images."""

    def forward(self, x: Tensor) -> Any:
        if len(x) > 3:
            raise RuntimeError("no room")
        return super().forward(x)


def test_a_model_that_fails_later_is_told_as_its_own_fault() -> None:
    target = opened(nets.seeded(Picky))
    with pytest.raises(ContractError, match=r"fails on a batch \(5, 3, 8, 8\): RuntimeError: no room"):
        target.look(images(5))


@pytest.mark.parametrize(
    ("name", "order", "prefix", "grid"),
    [("vit_b_32", "tokens", 1, (7, 7)), ("swin_t", "last", 0, (14, 14)), ("convnext_tiny", "first", 0, (14, 14))],
)
def test_tokens_and_channels_last_are_chosen_as_maps(name: str, order: str, prefix: int, grid: tuple[int, int]) -> None:
    model = nets.seeded(torchvision.models.get_model, name, weights=None).eval()
    calls, _ = trace(model, torch.zeros(2, 3, 224, 224))
    known = {call.name: call for call in calls}
    layouts = [layout for chosen in choose(calls, "spatial", 4) if (layout := known[chosen].layout) is not None]
    assert len(layouts) == 4
    assert Layout(order, grid, prefix) in layouts


def test_a_look_hands_out_maps_of_tokens() -> None:
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 12, "mlp_dim": 24, "num_classes": 4}
    model = nets.seeded(torchvision.models.VisionTransformer, image_size=32, patch_size=8, **sizes)
    target = load_target(model, preprocess=Preprocess(Geometry("RGB", (32, 32)), (0.5,) * 3, (0.25,) * 3), device="cpu")
    (layer,) = target.choose("spatial", 1)
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(out))
    found = target.look(torch.randn(3, 3, 32, 32), (layer,)).activations[layer]
    handle.remove()
    assert found.shape == (3, 12, 4, 4)
    assert torch.equal(found[1, :, 2, 3], kept[0][1, 1 + 2 * 4 + 3]), "the class token stands before the grid"
    with pytest.raises(TargetError, match="maps or tokens"):
        target.maps("heads.head", kept[0])


def test_attention_weights_are_no_maps() -> None:
    assert layouts([made("a", (2, 17, 6)), made("b", (2, 4, 17, 17)), made("c", (2, 4, 8, 8))], torch.zeros(2, 3, 32, 32)) == [
        None, None, Layout("first", (8, 8)),
    ]  # fmt: skip


def made(name: str, shape: tuple[int, ...]) -> Call:
    return Call(name, name, "Module", 0, True, shape, shape)
