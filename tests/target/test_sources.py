"""Every form of --model: torchvision, timm, Hugging Face, a user's factory, the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from auditor.errors import AuditError, TargetError, WeightsError
from auditor.preprocess import Preprocess
from auditor.target import load_target

FACTORY = """
import torch
from torch import nn
from auditor.preprocess import Geometry, Preprocess

def plain(width=4, num_classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, num_classes))

def whole():
    return plain(), Preprocess(Geometry("L", (8, 8)), (0.5,), (0.5,)), ["a", "b", "c"]

def broken():
    raise KeyError("no such thing")

def number():
    return 7

value = 3
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_nets.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own_nets.py"


GREY = Preprocess.imagenet().geometry.__class__("L", (8, 8))


def grey() -> Preprocess:
    return Preprocess(GREY, (0.5,), (0.5,))


def test_a_factory_by_file_and_by_module(factory: Path) -> None:
    target = load_target(f"{factory}:whole", device="cpu")
    assert target.classes == ("a", "b", "c")
    assert target.input_shape == (1, 8, 8)
    wide = load_target("own_nets:plain", preprocess=grey(), model_args={"width": 6}, device="cpu")
    assert wide.model[0].weight.shape[0] == 6


def test_a_factory_takes_the_number_of_classes_from_the_weights(factory: Path, tmp_path: Path) -> None:
    trained = load_target(f"{factory}:plain", preprocess=grey(), model_args={"num_classes": 5}, device="cpu").model
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    target = load_target(f"{factory}:plain", preprocess=grey(), weights=tmp_path / "w.safetensors", device="cpu")
    assert target.outputs == 5
    assert any("5 classes" in note for note in target.notes)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("own_nets.py:gone", "no factory 'gone'"), ("own_nets.py:value", "no factory"), ("nowhere.py:net", "does not exist"),
        ("no_such_module:net", "ModuleNotFoundError"), ("own_nets.py:broken", "KeyError"), ("own_nets.py:number", "got int"),
        ("resnet18", "expected torchvision"), ("torchvision:", "expected torchvision"), ("torchvision:resnet19", "resnet18"),
        ("torchvision:resnet18@IMAGENET9", "IMAGENET1K_V1"), ("timm:no_such_net@none", "no_such_net"), ("hf:./nowhere", "config.json"),
        ("demo:cats", "efficientnet-lite0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(spec: str, words: str, factory: Path) -> None:
    with pytest.raises(AuditError, match=words) as caught:
        load_target(spec, preprocess=grey(), device="cpu")
    assert "\n" not in str(caught.value)


def test_unknown_model_arg_is_told(factory: Path) -> None:
    with pytest.raises(TargetError, match="depth"):
        load_target(f"{factory}:plain", preprocess=grey(), model_args={"depth": 2}, device="cpu")
    with pytest.raises(TargetError, match="depth"):
        load_target("torchvision:resnet18@none", model_args={"depth": 2}, device="cpu")


def test_torchvision_with_a_changed_head_reads_its_classes_off_the_weights(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.save({"state_dict": {f"module.{k}": v for k, v in resnet18(num_classes=7).state_dict().items()}}, tmp_path / "w.pth")
    target = load_target("torchvision:resnet18", weights=tmp_path / "w.pth", device="cpu")
    assert target.outputs == 7
    assert target.classes is None
    assert target.head == "fc"
    assert isinstance(target.preprocess, Preprocess)
    assert target.input_shape == (3, 224, 224)
    with pytest.raises(WeightsError, match="does not fit"):
        load_target("torchvision:resnet34", weights=tmp_path / "w.pth", device="cpu")


def test_googlenet_without_its_auxiliary_heads(tmp_path: Path) -> None:
    from torchvision.models import googlenet

    torch.manual_seed(0)
    model = googlenet(weights=None, aux_logits=False, init_weights=False, num_classes=5)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    target = load_target("torchvision:googlenet", weights=tmp_path / "w.safetensors", device="cpu")
    assert target.outputs == 5


def test_a_detector_is_refused_and_serves_for_features() -> None:
    name = "torchvision:ssdlite320_mobilenet_v3_large@none"
    with pytest.raises(AuditError, match="a detector"):
        load_target(name, device="cpu", input_shape=(3, 64, 64))


def test_timm_by_a_lightning_checkpoint(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=6)
    saved = {f"model.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": saved, "pytorch-lightning_version": "2.4", "epoch": 1}, tmp_path / "last.ckpt")
    target = load_target("timm:resnet10t", weights=tmp_path / "last.ckpt", device="cpu")
    assert target.outputs == 6
    assert isinstance(target.preprocess, Preprocess)
    assert target.preprocess.geometry.interpolation == "bicubic"
    x = torch.randn(1, *target.input_shape)
    torch.testing.assert_close(target.look(x).scores, model.eval()(x).detach())


def vit(folder: Path, **processor: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    names = {0: "ant", 1: "bee", 2: "cat"}
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        num_labels=3, id2label=names, label2id={v: k for k, v in names.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config)
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}, **processor).save_pretrained(folder)
    return model.eval()


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    model = vit(tmp_path)
    target = load_target(f"hf:{tmp_path}", device="cpu")
    assert target.classes == ("ant", "bee", "cat")
    assert target.outputs == 3
    assert target.head == "classifier"
    assert isinstance(target.preprocess, Preprocess)
    assert target.preprocess.mean == (0.5, 0.5, 0.5)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(target.look(x).scores, model(x).logits.detach())
    other = load_target(f"hf:{tmp_path}", weights=tmp_path / "model.safetensors", device="cpu")
    torch.testing.assert_close(other.look(x).scores, model(x).logits.detach())


def test_the_demo_models_need_no_network() -> None:
    digits = load_target("demo:digits", device="cpu")
    assert (digits.outputs, digits.input_shape, digits.head) == (10, (1, 28, 28), "linear")
    with pytest.raises(TargetError, match="takes no --model-arg"):
        load_target("demo:digits", model_args={"width": 2}, device="cpu")


def test_random_weights_are_stamped() -> None:
    target = load_target("torchvision:squeezenet1_1@none", device="cpu")
    assert any("random" in note for note in target.notes)
