"""Image classifiers of Hugging Face transformers, from a folder (offline) or by a name on the hub; never remote code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from auditor.errors import AuditError, TargetError
from auditor.preprocess import Geometry, Opaque, Preprocess
from auditor.target.built import Built, Preparation, own_words, quiet
from auditor.target.weights import Fit, Weights, require_fit


def from_hugging_face(rest: str, weights: Weights | None, args: Mapping[str, Any]) -> Built:
    """A folder as save_pretrained writes it, or a name on the hub; with --weights nothing is downloaded."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise TargetError("--model hf:... needs the package transformers: pip install 'auditor[hf]'") from error
    place = Path(rest).expanduser()
    local = place.is_dir() or rest.startswith((".", "/", "~"))
    if local and not (place / "config.json").is_file():
        raise TargetError(f"--model hf:{rest}: expected a folder with config.json, as save_pretrained writes it; got {place}")
    try:
        with quiet(), calm():
            model, preprocess, names = load(str(place) if local else rest, local or weights is not None, weights, args)
    except AuditError:
        raise
    except Exception as error:
        raise own_words(
            f"hf:{rest}", error, "check the folder" if local else "without a network give a folder: hf:./DIR"
        ) from error
    return Built(model, preprocess, names)


def load(
    where: str, offline: bool, weights: Weights | None, args: Mapping[str, Any]
) -> tuple[nn.Module, Preparation | None, tuple[str, ...] | None]:
    """(model, preprocessing, class names)."""
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(where, **options, **args)
    if weights is None:
        model = AutoModelForImageClassification.from_pretrained(where, config=config, **options)
    else:
        model = with_weights(type(AutoModelForImageClassification.from_config(config, trust_remote_code=False)), config, weights)
    preprocess: Preparation | None = None
    with contextlib.suppress(OSError, ValueError, ImportError):
        processor = AutoImageProcessor.from_pretrained(where, **options)
        preprocess = from_processor(processor)
    return model, preprocess, class_names(config)


def with_weights(kind: Any, config: Any, weights: Weights) -> nn.Module:
    """A model of class `kind` with the weights, through transformers' own loader: it knows the older names of its layers."""
    settings: dict[str, Any] = {"config": config, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, told = kind.from_pretrained(None, state_dict=dict(weights.state), **settings)
    missing, unexpected = (tuple(sorted(told[key])) for key in ("missing_keys", "unexpected_keys"))
    misshaped = tuple((name, tuple(file), tuple(own)) for name, file, own in sorted(told["mismatched_keys"], key=str))
    require_fit(Fit(missing, unexpected, misshaped), weights.path, model)
    made: nn.Module = model
    return made


def class_names(config: Any) -> tuple[str, ...] | None:
    """Names in the order of the logits; None where they are only LABEL_0, LABEL_1, ..."""
    known = {int(i): str(name) for i, name in (getattr(config, "id2label", None) or {}).items()}
    names = tuple(known[i] for i in sorted(known))
    return None if not names or all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """transformers draws progress bars and logs to the terminal by itself; the user's terminal is ours."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


WAYS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers for resampling."""


def side(value: Any) -> Any:
    """An image processor's size: {"shortest_edge": s} or s as the short side, {"height": h, "width": w} as (h, w)."""
    if isinstance(value, int):
        return value
    found = dict(value or {})
    if "height" in found and "width" in found:
        return int(found["height"]), int(found["width"])
    return int(found["shortest_edge"]) if set(found) == {"shortest_edge"} else None


def from_processor(processor: Any) -> Preparation:
    """An image processor as a Preprocess where it resizes, crops, scales by 1/255 and normalises; opaque otherwise."""
    told = processor.to_dict()
    mean, std = told.get("image_mean"), told.get("image_std")
    resize = side(told.get("size")) if told.get("do_resize") else None
    crop = side(told.get("crop_size")) if told.get("do_center_crop") else None
    if isinstance(resize, int) and crop is None and "ConvNext" in type(processor).__name__:
        edge, share = resize, float(told.get("crop_pct") or 224 / 256)
        resize, crop = (int(edge / share), edge) if edge < 384 else ((edge, edge), None)
    normalised = bool(told.get("do_normalize")) and isinstance(mean, list | tuple) and isinstance(std, list | tuple)
    plain = (
        abs(float(told.get("rescale_factor", 0) or 0) - 1 / 255) < 1e-6
        and told.get("do_rescale", True)
        and not told.get("do_pad")
        and (resize is not None or not told.get("do_resize"))
        and (not normalised or len(mean or ()) == 3)
    )
    if not plain:
        return Opaque(Processed(processor))
    geometry = Geometry(
        "RGB", resize, (crop, crop) if isinstance(crop, int) else crop, WAYS.get(int(told.get("resample") or 2), "bilinear")
    )
    return Preprocess(geometry, tuple(mean) if normalised else (0.0,) * 3, tuple(std) if normalised else (1.0,) * 3)


class Processed:
    """An image processor as a function of one image."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, image: Image.Image) -> Any:
        """(C,H,W) float."""
        return self.processor(image, return_tensors="pt")["pixel_values"][0]

    def __repr__(self) -> str:
        return f"{type(self.processor).__name__}({sorted(self.processor.to_dict().items())})"
