"""Target: a frozen model in eval mode, and what one forward pass shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from auditor.errors import ContractError, TargetError
from auditor.ops.batching import images_at_once
from auditor.ops.lean import Light, lighter
from auditor.ops.maps import Shape, as_maps
from auditor.preprocess import Opaque, Preprocess
from auditor.target import contract
from auditor.target.forward import Forward, Made, first, made
from auditor.target.trace import Call, choose, first_tensor
from auditor.target.weights import line

if TYPE_CHECKING:
    from auditor.target.generator import OwnGenerator


PROBE_BATCH = 3
"""Images of the batch on which the contract is checked."""


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
    forward: Forward = field(default_factory=Forward)
    """How forwards without a gradient are computed: set by `compute_as`."""
    _restore: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def identity(self) -> str:
        """Names the model as it is audited: weights, task, preprocessing."""
        return f"{self.digest}:{self.task}:{self.preprocess.digest}"

    @property
    def random(self) -> bool:
        """Whether two forwards of the same images differed."""
        return contract.RANDOM in self.notes

    @property
    def at_once(self) -> int:
        """Images in one forward of a probe's own work."""
        return self.forward.batch or images_at_once(self.input_shape, self.device)

    def compute_as(self, forward: Forward) -> None:
        """Compute forwards without a gradient so from now on. Raises TargetError where the model does not bear it."""
        if forward == self.forward:
            return
        self.__dict__.pop("stand_in", None)
        self.forward = forward
        try:
            self.stand_in  # noqa: B018 - tried here and now
        except TargetError:
            self.forward = Forward()
            raise

    @cached_property
    def stand_in(self) -> Made | None:
        """The copy that computes as `forward` says; None where the model itself does."""
        if self.forward.as_it_is:
            return None
        images = test_batch(self.preprocess, self.input_shape, self.device)
        return made(self.module, images, self.forward, wrapped=self.module is not self.model)

    @cached_property
    def light(self) -> Light:
        """`model`, or a copy that gives the same up to rounding at less cost: for what asks thousands of times for gradients."""
        images = test_batch(self.preprocess, self.input_shape, self.device)
        return lighter(self.model, images, lambda net, given: first(net(given)))

    def scores(self, images: Tensor) -> Tensor:
        """(n,K) float32 of normalised images (n,C,H,W), without gradients, as `forward` says."""
        with torch.no_grad():
            found: Tensor = self.module(images) if self.stand_in is None else self.stand_in.module(self.stand_in.prepared(images))
        return found.float()

    def look(self, images: Tensor, layers: Sequence[str] = (), show: Callable[[str, Tensor], bool] | None = None) -> Look:
        """One forward of normalised images (n,C,H,W), without gradients, with the outputs of `layers` (names of calls).

        It is computed as `forward` says; where a layer is asked for that has no output of its own then, by the model itself.
        `show` is given the name and output of each of them as soon as it is computed: where it returns False, it is not kept.
        """
        kept: dict[str, Tensor] = {}
        features: list[Tensor] = []
        counts: Counter[str] = Counter()
        known = {call.name: call for call in self.trace}
        unknown = [layer for layer in layers if layer not in known]
        if unknown:
            raise TargetError(f"expected layers that a forward calls, got {unknown[0]!r}; see `choose`")
        copy = self.stand_in
        if copy is not None and any(known[layer].path in copy.hidden for layer in layers):
            copy = None
        model, module = (self.model, self.module) if copy is None else (copy.model, copy.module)

        def keep(path: str) -> Callable[..., None]:
            def called(_module: nn.Module, _args: Any, output: Any) -> None:
                name = f"{path}#{counts[path]}" if counts[path] else path
                counts[path] += 1
                if name in layers:
                    found = first_tensor(output)
                    assert found is not None
                    layout = known[name].layout
                    found = found if copy is None else found.float()
                    if show is None or show(name, found if layout is None else as_maps(found, layout)):
                        found = found.clone() if known[name].overwritten else found
                        kept[name] = found if layout is None else as_maps(found, layout)

            return called

        def under(_module: nn.Module, args: Any, kwargs: Any) -> None:
            given = first_tensor((args, kwargs))
            assert given is not None
            features.append(pooled(given, conv=self.kind_of_head() == "Conv2d"))

        paths = dict.fromkeys(known[layer].path for layer in layers)
        handles = [model.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
        if self.head:
            handles.append(model.get_submodule(self.head).register_forward_pre_hook(under, with_kwargs=True))
        try:
            with torch.no_grad():
                given = images if copy is None else copy.prepared(images)
                output = module(given) if self.task == "classification" else model(given)
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

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("stand_in", "light")
        }  # another process makes its own

    def restore(self) -> None:
        """Give the model back as it was found: device, modes, requires_grad."""
        self._restore()
        if self.second is not None:
            self.second.restore()
        if self.generator is not None:
            self.generator.restore()


def test_batch(preprocess: Preprocess | Opaque, shape: Shape, device: torch.device) -> Tensor:
    """(3,C,H,W) of seeded noise, normalised, on which the contract is checked."""
    noise = torch.rand(PROBE_BATCH, *shape, generator=torch.Generator().manual_seed(0))
    return (preprocess.normalise(noise) if preprocess.invertible else 2 * noise - 1).to(device)


def pooled(value: Tensor, *, conv: bool) -> Tensor:
    """(n,D) of (n,D), of tokens (n,T,D) and (n,H,W,D), or, where `conv`, of maps (n,D,H,W): the mean over positions."""
    if conv and value.ndim == 4:
        return value.mean((2, 3))
    return value.flatten(1, -2).mean(1) if value.ndim > 2 else value
