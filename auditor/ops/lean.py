"""The same model at less cost: batch norms folded into their convolutions; on the CPU the channels innermost, and convolutions
whose weights are laid out once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from auditor.ops.frozen import stand_in
from auditor.ops.fused import fused

AGREEMENT = 1e-4
"""Of the largest score: by how much the cheap model may differ from the model on the images that it is tried on."""
AT_ONCE = 32 * 32 * 32
"""Pixels of one forward on the CPU. Beyond these the maps of a layer leave the cache: ResNet-20 at 32 px takes 0.9 ms an image in
batches of 16 to 32 and 1.0 in batches of 100, folded and channels last; 1.8 as it is in batches of 100."""

CONVOLUTIONS: tuple[Callable[..., Any], ...] = (functional.conv2d,)
NORMS: tuple[Callable[..., Any], ...] = (functional.batch_norm, torch.batch_norm)


Ask = Callable[[nn.Module, Tensor], Tensor]
"""(model, images (n,C,H,W)) -> what is wanted of it."""


class Lean:
    """Two ways to the same scores: called, it gives those of the cheap one; what is decided by them is asked of `exact`."""

    def __init__(self, exact: nn.Module, fast: nn.Module, still: nn.Module | None = None, *, channels_last: bool) -> None:
        """`still`: what is asked where no gradient is; `fast` where None."""
        self.exact, self.fast, self.still = exact, fast, still or fast
        self.layout = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """(n,C,H,W) -> (n,K), up to rounding those of `exact`."""
        followed = torch.is_grad_enabled() and images.requires_grad
        scores: Tensor = (self.fast if followed else self.still)(images.contiguous(memory_format=self.layout))
        return scores


class Watch(TorchFunctionMode):
    """Sees which convolution's output goes into which batch norm, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.convolved: dict[int, tuple[Tensor, Tensor]] = {}
        """By the output's id: the output, kept so that its id stays its own, and the weight."""
        self.read: dict[int, list[Tensor | None]] = {}
        """By the output's id: for each reader the running mean of a batch norm, None of anything else."""
        self.seen: dict[int, int] = {}
        """Calls that took a weight or a running mean, by its id."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        norm = func in NORMS
        mean = (named.get("running_mean") if "running_mean" in named else args[1 if func is NORMS[0] else 3]) if norm else None
        out = func(*args, **named)
        if any(True for _ in tensors(out)):  # what makes no tensor, such as .dim(), reads no values
            for place, tensor in enumerate(tensors([args, named])):
                if id(tensor) in self.convolved:
                    self.read.setdefault(id(tensor), []).append(mean if place == 0 else None)
        if isinstance(mean, Tensor):
            self.seen[id(mean)] = self.seen.get(id(mean), 0) + 1
        if func in CONVOLUTIONS and isinstance(out, Tensor):
            weight = named["weight"] if "weight" in named else args[1]
            self.convolved[id(out)] = (out, weight)
            self.seen[id(weight)] = self.seen.get(id(weight), 0) + 1
        return out

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(weight of a convolution, running mean of the batch norm that alone reads it), each used once."""
        for key, (_, weight) in self.convolved.items():
            readers = self.read.get(key, [])
            if len(readers) == 1 and readers[0] is not None and self.seen[id(weight)] == self.seen[id(readers[0])] == 1:
                yield weight, readers[0]


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in arguments, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def lean(model: nn.Module, example: Tensor) -> Lean | nn.Module:
    """`model` (in eval mode) made cheap, as `cheaper` does, or `model` itself where there is nothing to gain."""
    fast = cheaper(model, example)
    if fast is None:
        return model
    last = channels_last(example)
    still = fused(fast, example.contiguous(memory_format=torch.channels_last), AGREEMENT) if last else None
    return Lean(model, fast, still, channels_last=last)


def channels_last(images: Tensor) -> bool:
    """Whether the channels are to lie innermost for these images."""
    return layout_on(images.device) is torch.channels_last


def layout_on(device: torch.device) -> torch.memory_format:
    """How maps are to lie on a device: on the CPU with the channels innermost."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def asked_whole(model: nn.Module, images: Tensor) -> Tensor:
    """All that `model` computes."""
    scores: Tensor = model(images)
    return scores


def cheaper(model: nn.Module, example: Tensor, ask: Ask = asked_whole) -> nn.Module | None:
    """A copy of `model` (in eval mode) that gives at less cost what `ask` wants of it; None where there is nothing to gain.

    A batch norm is folded into the convolution before it where `ask` of `example` (n,C,H,W) shows that each is called once
    and the convolution's output goes nowhere else; `ask` may end the forward early, then what it returns is not folded away.
    The copy is given only where it answers on `example` as the model does, to AGREEMENT: not of a model that cannot be copied,
    or that answers otherwise each time. On the CPU its weights lie channels last, as the images should, and its convolutions are
    those of `ops.frozen`.
    """
    if example.dtype not in (torch.float32, torch.float64) or not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        return None
    try:
        found = copied(model, example, ask, folded=True, last=channels_last(example), frozen=channels_last(example))
    except Exception:  # noqa: BLE001 - whatever a user's own module does not bear, the model as it is serves as well
        return None
    gained = found.folded or channels_last(example)
    return found.module if gained and found.apart <= AGREEMENT * found.largest else None


@dataclass(frozen=True)
class Light:
    """A model whose every module gives what it gives in the model it was made of, up to rounding; perhaps that model itself."""

    model: nn.Module
    last: bool = False
    """Whether images are to have their channels innermost."""

    def prepared(self, images: Tensor) -> Tensor:
        """Images (n,C,H,W) as it takes them."""
        return images.contiguous(memory_format=torch.channels_last) if self.last and images.shape[1] > 1 else images


def lighter(model: nn.Module, example: Tensor, ask: Ask = asked_whole) -> Light:
    """A copy of `model` (in eval mode) that shares its weights, and whose convolutions are those of `ops.frozen`, on the CPU.

    `model` itself where there is nothing to gain, where it cannot be copied or bears no channels last, or where `ask` of
    `example` (n,C,H,W) differs by more than AGREEMENT.
    """
    if not channels_last(example):
        return Light(model)
    try:
        shared = {id(held): held for held in (*model.parameters(), *model.buffers())}
        fast = Light(copy.deepcopy(model, shared), last=True)
        if not stand_in(fast.model):
            return Light(model)
        with torch.no_grad():
            answer, again = ask(model, example), ask(fast.model, fast.prepared(example))
        return fast if float((again - answer).abs().max()) <= AGREEMENT * float(answer.abs().max()) else Light(model)
    except Exception:  # noqa: BLE001 - whatever a user's own module does not bear, the model as it is serves as well
        return Light(model)


@dataclass(frozen=True)
class Copied:
    """A copy of a model that computes in another way what is asked of it."""

    module: nn.Module
    folded: tuple[str, ...]
    """Convolutions that took in a batch norm."""
    apart: float
    """The largest difference between what the two answer; NaN where their shapes differ."""
    largest: float
    """The largest number that the model answers."""


def copied(
    model: nn.Module,
    example: Tensor,
    ask: Ask,
    *,
    folded: bool,
    last: bool,
    frozen: bool = False,
    dtype: torch.dtype | None = None,
) -> Copied:
    """A copy of `model` (in eval mode), its batch norms `folded`, its channels `last`, its convolutions `frozen`,
    in `dtype`; tried on `example` (n,C,H,W).

    Raises whatever the model raises.
    """
    with torch.no_grad():
        watch = Watch()
        with watch:
            answer = ask(model, example)
        fast = copy.deepcopy(model).requires_grad_(False)
        names = fold(fast, model, watch) if folded else ()
        fast = fast.to(dtype=dtype) if dtype is not None else fast
        fast = fast.to(memory_format=torch.channels_last) if last else fast
        if frozen:
            stand_in(fast)
        layout = torch.channels_last if last else torch.contiguous_format
        again = ask(fast, example.to(dtype or example.dtype).contiguous(memory_format=layout)).to(answer.dtype)
        apart = float((again - answer).abs().max()) if again.shape == answer.shape else float("nan")
        return Copied(fast, names, apart, float(answer.abs().max()))


def fold(fast: nn.Module, model: nn.Module, watch: Watch) -> tuple[str, ...]:
    """Fold in `fast`, a copy of `model`, what `watch` found in `model`; the names of the convolutions."""
    convolutions = {id(m.weight): name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    norms = {
        id(m.running_mean): name for name, m in model.named_modules() if type(m) is nn.BatchNorm2d and m.running_mean is not None
    }
    done = []
    for weight, mean in watch.pairs():
        if id(weight) not in convolutions or id(mean) not in norms:
            continue
        conv, norm = fast.get_submodule(convolutions[id(weight)]), fast.get_submodule(norms[id(mean)])
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        conv.weight, conv.bias = (nn.Parameter(part, requires_grad=False) for part in folded_modules(conv, norm))
        fast.set_submodule(norms[id(mean)], nn.Identity())
        done.append(convolutions[id(weight)])
    return tuple(done)


def folded_modules(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that gives what the two give, worked out in float64."""
    own = (conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    weight, bias = folded(*(None if part is None else part.double() for part in own), eps=norm.eps)  # type: ignore[arg-type]
    return weight.to(conv.weight), bias.to(conv.weight)


def folded(
    weight: Tensor, bias: Tensor | None, mean: Tensor, variance: Tensor, scale: Tensor | None, shift: Tensor | None, *, eps: float
) -> tuple[Tensor, Tensor]:
    """A convolution's weight (O,I,kh,kw) and bias with the batch norm behind it."""
    factor = torch.rsqrt(variance + eps) * (1 if scale is None else scale)
    offset = (0 if bias is None else bias) - mean
    return weight * factor[:, None, None, None], offset * factor + (0 if shift is None else shift)


def at_once(images: Tensor) -> int:
    """How many of images (n,C,H,W) one forward takes: on the CPU AT_ONCE pixels, at least four images; elsewhere all (0)."""
    return max(4, AT_ONCE // (images.shape[-2] * images.shape[-1])) if images.device.type == "cpu" else 0
