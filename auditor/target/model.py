"""Target: a frozen model in eval mode, and what one forward pass shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from auditor.errors import ContractError, TargetError
from auditor.ops.maps import as_maps
from auditor.preprocess import Opaque, Preprocess
from auditor.target import contract
from auditor.target.trace import Call, choose, first_tensor
from auditor.target.weights import line

if TYPE_CHECKING:
    from auditor.target.generator import OwnGenerator


@dataclass(frozen=True)
class Look:
    """What one forward of n images shows."""

    scores: Tensor | None
    """(n,K) float32; None under `--task features`."""
    features: Tensor
    """(n,D) float32: what the head is given, averaged over positions or tokens where it has them."""
    activations: Mapping[str, Tensor]
    """Layer -> its output: (n,C,h,w) maps where it holds maps in any layout, else as it is."""


@dataclass(frozen=True)
class Recipe:
    """How a model was made that was named by `--model`: by this, another process makes it again."""

    spec: str
    weights: Path | None
    args: Mapping[str, Any]


@dataclass
class Target:
    """A frozen model in eval mode, with its preprocessing and what one batch has shown of it."""

    model: nn.Module
    """As the user gave it."""
    module: nn.Module
    """Gives (n,K) scores, whatever the model's output was wrapped in."""
    preprocess: Preprocess | Opaque
    device: torch.device
    task: str
    outputs: int
    """K; 0 under `--task features`."""
    classes: tuple[str, ...] | None
    source: str
    name: str
    digest: str
    input_shape: tuple[int, ...]
    """(C,H,W)."""
    trace: tuple[Call, ...]
    head: str
    """The module whose input is the penultimate features; "" where none is found."""
    notes: tuple[str, ...] = ()
    second: Target | None = None
    """Another model for the same classes, which is shown the pictures made for this one."""
    generator: OwnGenerator | None = None
    """The user's own image generator, in the place of one that is trained."""
    recipe: Recipe | None = None
    """None where the model was given as an object."""
    _restore: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def identity(self) -> str:
        """Names the model as it is audited: weights, task, preprocessing."""
        return f"{self.digest}:{self.task}:{self.preprocess.digest}"

    @property
    def random(self) -> bool:
        """Whether two forwards of the same images differed."""
        return contract.RANDOM in self.notes

    def look(self, images: Tensor, layers: Sequence[str] = (), show: Callable[[str, Tensor], bool] | None = None) -> Look:
        """One forward of normalised images (n,C,H,W), without gradients, with the outputs of `layers` (names of calls).

        `show` is given the name and output of each of them as soon as it is computed: where it returns False, it is not kept.
        """
        kept: dict[str, Tensor] = {}
        features: list[Tensor] = []
        counts: Counter[str] = Counter()
        known = {call.name: call for call in self.trace}
        unknown = [layer for layer in layers if layer not in known]
        if unknown:
            raise TargetError(f"expected layers that a forward calls, got {unknown[0]!r}; see `choose`")

        def keep(path: str) -> Callable[..., None]:
            def called(_module: nn.Module, _args: Any, output: Any) -> None:
                name = f"{path}#{counts[path]}" if counts[path] else path
                counts[path] += 1
                if name in layers:
                    found = first_tensor(output)
                    assert found is not None
                    layout = known[name].layout
                    if show is None or show(name, found if layout is None else as_maps(found, layout)):
                        found = found.clone() if known[name].overwritten else found
                        kept[name] = found if layout is None else as_maps(found, layout)

            return called

        def under(_module: nn.Module, args: Any, kwargs: Any) -> None:
            given = first_tensor((args, kwargs))
            assert given is not None
            features.append(pooled(given, conv=self.kind_of_head() == "Conv2d"))

        paths = dict.fromkeys(known[layer].path for layer in layers)
        handles = [self.model.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
        if self.head:
            handles.append(self.model.get_submodule(self.head).register_forward_pre_hook(under, with_kwargs=True))
        try:
            with torch.no_grad():
                output = self.module(images) if self.task == "classification" else self.model(images)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError) as error:
            raise ContractError(
                f"the model fails on a batch {tuple(images.shape)}: {type(error).__name__}: {line(error)}; "
                "correct the model, or give another --batch"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        scores = output.float() if self.task == "classification" else None
        deepest = features[-1] if features else self.fallback(output, len(images))
        return Look(scores, deepest.float(), kept)

    def kind_of_head(self) -> str:
        """The class of the head."""
        return next((call.kind for call in self.trace if call.name == self.head), "")

    def fallback(self, output: Any, count: int) -> Tensor:
        """Features of a model without a head: its own output, pooled."""
        found = first_tensor(contract.unwrapped(output)[0])
        if found is None or found.ndim < 2 or len(found) != count:
            raise ContractError(
                f"expected one feature vector an image, got {contract.described(output)}; wrap the model so that it returns (n,D)"
            )
        return pooled(found, conv=found.ndim == 4)

    def choose(self, kind: Literal["spatial", "any"], count: int) -> tuple[str, ...]:
        """At most `count` layers of a kind, spread over the depth, from shallow to deep; see `trace.choose`."""
        return choose(self.trace, kind, count)

    def maps(self, layer: str, output: Tensor) -> Tensor:
        """(n,C,h,w) of an output of `layer` in any layout, differentiable. Raises TargetError where it holds no maps."""
        layout = next((call.layout for call in self.trace if call.name == layer), None)
        if layout is None:
            raise TargetError(f"expected a layer whose output holds maps or tokens, got {layer!r}; see `choose`")
        return as_maps(output, layout)

    def restore(self) -> None:
        """Give the model back as it was found: device, modes, requires_grad."""
        self._restore()
        if self.second is not None:
            self.second.restore()
        if self.generator is not None:
            self.generator.restore()


def pooled(value: Tensor, *, conv: bool) -> Tensor:
    """(n,D) of (n,D), of tokens (n,T,D) and (n,H,W,D), or, where `conv`, of maps (n,D,H,W): the mean over positions."""
    if conv and value.ndim == 4:
        return value.mean((2, 3))
    return value.flatten(1, -2).mean(1) if value.ndim > 2 else value
