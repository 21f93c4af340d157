"""Models from torchvision's and timm's registries."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from auditor.errors import AuditError, TargetError, WeightsError
from auditor.preprocess import from_transform
from auditor.target.built import RANDOM, Built, built_with, own_words, quiet
from auditor.target.weights import Weights, few, line


def from_torchvision(rest: str, weights: Weights | None, args: Mapping[str, Any]) -> Built:
    """torchvision's registry: pretrained weights by default, @none for random ones, a file where --weights is given."""
    from torchvision.models import get_model, get_model_builder, get_model_weights, list_models

    name, at, tag = rest.partition("@")
    if name not in list_models():
        near = [known for known in list_models() if known.startswith(name[:4])]
        raise TargetError(f"--model torchvision:{name}: no such model; there are {few(near or list_models(), 8)}")
    entries = get_model_weights(name)
    asked = tag if at and tag.lower() != "none" else ""
    members = {member.name: member for member in entries} | {"DEFAULT": entries.DEFAULT} if len(entries) else {}
    if asked and asked not in members:
        raise TargetError(f"--model torchvision:{rest}: no such weights; there are {few(members)} and none")
    entry = members.get(asked or "DEFAULT")
    preprocess = None if entry is None else from_transform(entry.transforms())
    accepted = tuple(inspect.signature(get_model_builder(name)).parameters)
    auxiliary = name in ("googlenet", "inception_v3")
    bare: dict[str, Any] = {"weights_backbone": None} if "weights_backbone" in accepted else {}
    bare |= {"init_weights": False} if auxiliary else {}

    def build(settings: Mapping[str, Any]) -> Built:
        try:
            with quiet():
                return Built(get_model(name, weights=None, **{**bare, **settings}), preprocess)
        except (TypeError, ValueError) as error:
            raise own_words(f"torchvision:{rest}", error) from error

    if weights is not None:
        return built_with(build, weights, args, auxiliary=auxiliary)
    if at and not asked:
        return replace(build(args), notes=(RANDOM,))
    if entry is None:
        raise TargetError(f"--model torchvision:{name}: torchvision has no weights for it; give --weights FILE, or {name}@none")
    try:
        with quiet():
            model = get_model(name, weights=entry, **args)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"--model torchvision:{rest}: its weights {entry.name} could not be got ({line(error)}); "
            f"give --weights FILE, or torchvision:{name}@none for random ones"
        ) from error
    names = entry.meta.get("categories")
    return Built(model, preprocess, tuple(names) if names else None, (f"torchvision weights {entry.name}.",))


def from_timm(rest: str, weights: Weights | None, args: Mapping[str, Any]) -> Built:
    """timm's registry: pretrained by default, `NAME@none` for random weights, a file where --weights is given."""
    try:
        import timm
        from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_model_data_config
    except ImportError as error:
        raise TargetError("--model timm:NAME needs the package timm: pip install 'auditor[timm]'") from error
    name, at, tag = rest.partition("@")
    if at and tag.lower() != "none":
        raise TargetError(f"--model timm:{rest}: expected NAME (its tag after a dot) or NAME@none")

    def build(settings: Mapping[str, Any], *, pretrained: bool = False) -> Built:
        with quiet():
            model = timm.create_model(name, pretrained=pretrained, **settings)
            config = resolve_model_data_config(model)
            return Built(model, from_transform(create_transform(**config, is_training=False), channels=config["input_size"][0]))

    try:
        if weights is not None:
            return built_with(build, weights, args)
        if at:
            return replace(build(args), notes=(RANDOM,))
        found = build(args, pretrained=True)
    except AuditError:
        raise
    except Exception as error:
        hint = "; without a network give --weights FILE or NAME@none" if isinstance(error, OSError) else ""
        raise TargetError(
            f"--model timm:{rest}: {type(error).__name__}: {line(error)}{hint}; timm.list_models() has the names"
        ) from error
    subset = infer_imagenet_subset(found.model)
    if subset:
        info = ImageNetInfo(subset)
        found = replace(found, classes=tuple(info.index_to_description(i) for i in range(info.num_classes())))
    return replace(found, notes=(f"timm weights {getattr(found.model, 'pretrained_cfg', {}).get('tag') or 'default'}.",))
