"""A forward pass that ends at a named layer: what lies above it is neither computed nor differentiated."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from auditor.errors import TargetError


class _ReachedError(BaseException):
    """Carries a layer's tensor out of the forward. Not an Exception, so that no model swallows it."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def truncated(model: nn.Module, images: Tensor, layer: str, *, side: Literal["output", "input"] = "output") -> Tensor:
    """The output (or first input) of `layer` for images (n,C,H,W), differentiable; the forward stops there.

    `layer` is a module path within `model`; "path#1" is the second call of a module that is used more than once,
    and "" the model itself. Leaves no hook behind. Raises TargetError where the layer is unknown, is not reached, or
    does not give a tensor.
    """
    path, _, call = layer.partition("#")
    modules = dict(model.named_modules())
    if path not in modules or (call and not call.isdigit()):
        raise TargetError(f"expected a layer of the model, got {layer!r}; name one of {', '.join(list(modules)[1:9])}, ...")
    left = int(call or 0)

    def stop(value: Any) -> None:
        nonlocal left
        if left == 0:
            raise _ReachedError(value)
        left -= 1

    def after(_module: nn.Module, _args: Any, output: Any) -> None:
        stop(output)

    def before(_module: nn.Module, args: Any) -> None:
        stop(args[0])

    place = modules[path]
    handle = place.register_forward_hook(after) if side == "output" else place.register_forward_pre_hook(before)
    try:
        model(images)
    except _ReachedError as reached:
        if not isinstance(reached.value, Tensor):
            kind = type(reached.value).__name__
            raise TargetError(f"expected a tensor at layer {layer!r}, got {kind}; choose another layer") from None
        return reached.value
    finally:
        handle.remove()
    raise TargetError(f"expected the forward to reach layer {layer!r}, it did not; choose a layer that the model calls")
