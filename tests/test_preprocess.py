from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import ResNet18_Weights, get_model_weights

from auditor.errors import ConfigError
from auditor.preprocess import Geometry, Opaque, Preprocess, from_transform


def photograph(size: tuple[int, int] = (90, 61)) -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "convnext_tiny", "inception_v3", "vit_b_16", "swin_t"])
def test_it_gives_what_torchvisions_own_preset_gives(name: str) -> None:
    transform = get_model_weights(name).DEFAULT.transforms()
    ours = from_transform(transform)
    assert isinstance(ours, Preprocess)
    image = photograph((420, 300))
    pixels = torch.from_numpy(ours.geometry.apply(image)).permute(2, 0, 1)[None]
    torch.testing.assert_close(ours.normalise(pixels)[0], transform(image), atol=1e-6, rtol=0)


def test_a_compose_is_translated_and_gives_the_same() -> None:
    steps = transforms.Compose(
        [
            transforms.Resize((40, 50)), transforms.CenterCrop((32, 48)), transforms.ToTensor(),
            transforms.Normalize((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)),
        ]
    )  # fmt: skip
    ours = from_transform(steps)
    assert isinstance(ours, Preprocess)
    assert ours.geometry.size == (32, 48)
    pixels = torch.from_numpy(ours.geometry.apply(photograph())).permute(2, 0, 1)[None]
    torch.testing.assert_close(ours.normalise(pixels)[0], steps(photograph()), atol=1e-6, rtol=0)


def test_what_cannot_be_translated_stays_opaque_and_whole() -> None:
    steps = transforms.Compose([transforms.ToTensor(), transforms.RandomErasing(p=0)])
    ours = from_transform(steps)
    assert isinstance(ours, Opaque)
    assert not ours.invertible
    torch.testing.assert_close(ours(photograph()), steps(photograph()))


def test_normalise_by_hand_on_bytes_and_on_floats() -> None:
    ours = Preprocess(Geometry("RGB", None, None), (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = torch.tensor([1.0, -1.0, 0.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(ours.normalise(pixels), expected)
    floats = (pixels.double() / 255).requires_grad_(True)
    torch.testing.assert_close(ours.normalise(floats), expected.double())
    ours.normalise(floats).sum().backward()
    assert floats.grad is not None
    torch.testing.assert_close(floats.grad.flatten(), torch.tensor([2.0, 4.0, 1.0], dtype=torch.float64))


def test_grey_and_non_square() -> None:
    ours = Preprocess(Geometry("L", (8, 12), None, "nearest"), (0.5,), (0.5,))
    assert ours.channels == 1
    assert ours.geometry.apply(photograph()).shape == (8, 12, 1)


def test_the_short_side_is_resized_and_the_centre_cropped() -> None:
    wide = Image.fromarray(np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2))
    pixels = Geometry("RGB", 50, (50, 50), "nearest").apply(wide)
    assert pixels.shape == (50, 50, 3)
    assert pixels[0, 0, 0] == pytest.approx(51, abs=1), "a quarter of the width is cut off on the left"


def test_equal_settings_have_equal_digests_and_others_do_not() -> None:
    base = Preprocess.imagenet()
    assert Preprocess.imagenet().digest == base.digest
    assert Preprocess.imagenet(resize=255).digest != base.digest
    assert Preprocess(base.geometry, base.std, base.mean).digest != base.digest
    assert from_transform(ResNet18_Weights.DEFAULT.transforms()).digest == base.digest


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Geometry("RGB", 8, None, "cubic"), "interpolation"),
        (lambda: Geometry("CMYK"), "RGB"),
        (lambda: Geometry("RGB", 0), "at least 1 px"),
        (lambda: Preprocess(Geometry(), (0.5, 0.5), (0.5, 0.5)), "channels"),
        (lambda: Preprocess(Geometry(), (0.5,) * 3, (0.5, 0.5, 0.0)), "above 0"),
        (lambda: Preprocess(Geometry("L"), (0.5,) * 3, (0.5,) * 3), "mode L"),
    ],
)
def test_wrong_settings_are_told(make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()  # type: ignore[operator]
