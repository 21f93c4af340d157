"""The receptive field of every position of any layer's output, read off one forward pass (Araujo 2019 gives the arithmetic).

A dispatch mode sees every operation, functional ones, in-place ones and slices too, and carries along which pixels each
position sees (`auditor.ops.reach`). A box is EXACT where it is the bounding box of the gradient's support for generic
weights, UPPER_BOUND where less may be seen, UNKNOWN where an operation mixes positions in a way that depends on the image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from auditor.errors import TargetError
from auditor.ops.reach.moves import pointwise
from auditor.ops.reach.op import Op, Result
from auditor.ops.reach.reach import PLAIN, Factor, Reach, Status, joined, plain
from auditor.ops.reach.rules import RULES
from auditor.ops.reach.span import LostError, pixels, whole
from auditor.types import Array

Geometry: TypeAlias = tuple[Any, ...]
"""(storage offset, shape, strides): with its storage it names what a tensor holds, whatever the object."""


@dataclass(frozen=True, eq=False)
class Field:
    """What the positions of a layer's output see of an image of `image` (H,W) pixels; two numbers are (down, across)."""

    status: Status
    reason: str
    """Why it is not EXACT, or what to know of an exact one."""
    image: tuple[int, int]
    size: tuple[int, int]
    """Pixels, as if the image had no border: may exceed the image. The largest, where positions differ."""
    jump: tuple[float, float]
    """Pixels from one position to the next."""
    start: tuple[float, float]
    """Top and left of the box of position (0,0) before it is clipped; may be negative."""
    rows: Array
    """(n,2) int64: first pixel row and one past the last, for each row of the output; one for all where it has no rows."""
    columns: Array
    """(m,2) int64, likewise."""

    def __deepcopy__(self, _memo: Any) -> Field:
        return self  # it never changes, and every shard of a pass copies its folds

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the pixels seen, half-open and within the image; empty where none is."""
        top, bottom = self.rows[row if len(self.rows) > 1 else 0]
        left, right = self.columns[column if len(self.columns) > 1 else 0]
        return (int(top), int(bottom), int(left), int(right)) if bottom > top and right > left else (0, 0, 0, 0)


def receptive_fields(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Field]:
    """The field of each layer's output (its first tensor) in a forward of `images` (1,C,H,W), without gradient.

    A layer is a module path; "path#1" is the second call of a module that is used more than once. The model is left as
    it is, also after an exception. Raises TargetError where a layer is unknown or not reached.
    """
    modules = dict(model.named_modules())
    for layer in layers:
        if layer.partition("#")[0] not in modules:
            raise TargetError(f"expected a layer of the model, got {layer!r}; name one of {', '.join(list(modules)[1:9])}, ...")
    follow = _Following(images)
    fields: dict[str, Field] = {}
    calls: defaultdict[str, int] = defaultdict(int)

    def reader(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def read(_module: nn.Module, _args: Any, output: Any) -> None:
            for name in {path, f"{path}#0"} if calls[path] == 0 else {f"{path}#{calls[path]}"}:
                if name in layers:
                    fields[name] = follow.field(output)
            calls[path] += 1

        return read

    paths = dict.fromkeys(layer.partition("#")[0] for layer in layers)
    handles = [modules[path].register_forward_hook(reader(path)) for path in paths]
    try:
        with torch.no_grad(), follow:
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        if layer not in fields:
            raise TargetError(f"expected the forward to reach layer {layer!r}, it did not; choose a layer that the model calls")
    return {layer: fields[layer] for layer in layers}


class _Following(TorchDispatchMode):
    """Carries a Reach for every tensor that depends on the image, by storage and geometry, so that views and in-place
    operations meet the right one. Storages are held weakly: nothing lives longer for it.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.image = (int(images.shape[-2]), int(images.shape[-1]))
        self.known: dict[int, tuple[StorageWeakRef, dict[Geometry, Reach]]] = {}
        axes = [PLAIN] * (images.ndim - 2) + [0, 1]
        dims = tuple((Factor(n, a),) if n > 1 else () for n, a in zip(images.shape, axes, strict=True))
        self.put(images, Reach(dims, (pixels(self.image[0]), pixels(self.image[1]))))

    def place(self, tensor: Tensor) -> tuple[torch.UntypedStorage, Geometry] | None:
        """Where a tensor's values lie; None for those without a plain storage, which cannot be followed."""
        if tensor.layout != torch.strided or tensor.is_mkldnn or not tensor.numel():
            return None
        return tensor.untyped_storage(), (tensor.storage_offset(), tuple(tensor.shape), tensor.stride())

    def put(self, tensor: Tensor, reach: Reach | None, *, wrote: bool = False) -> None:
        """Note what a tensor sees; where its values were `wrote`, other views of its storage get the union."""
        place = self.place(tensor)
        if place is None:
            return
        storage, geometry = place
        if storage._cdata not in self.known:  # the weak reference keeps the address from being given to another storage
            self.known[storage._cdata] = StorageWeakRef(storage), {}
        entries = self.known[storage._cdata][1]
        before = entries.pop(geometry, None)
        if reach is None:
            return
        if wrote and (before is None or not before.same(reach)):
            for other, held in entries.items():
                entries[other] = held if held.sees_as(reach) else self.both([held, reach], other[1])
        entries[geometry] = reach

    def get(self, tensor: Any) -> Reach | None:
        """What a tensor sees, None where it does not depend on the image."""
        place = self.place(tensor) if isinstance(tensor, Tensor) else None
        if place is None or place[0]._cdata not in self.known:
            return None
        entries = self.known[place[0]._cdata][1]
        if place[1] in entries or not entries:
            return entries.get(place[1])
        return self.both(list(entries.values()), place[1][1])

    def both(self, reaches: list[Reach], shape: tuple[int, ...]) -> Reach:
        """A tensor of `shape` that was written in parts, each with its own reach."""
        reason = "a part of it was written in place"
        try:
            if any(len(r.dims) != len(shape) for r in reaches):
                raise LostError(reason)
            flat = [replace(r, dims=tuple(d if r.axes(i) else () for i, d in enumerate(r.dims)), mixed=True) for r in reaches]
            return joined(flat, shape).told("UPPER_BOUND", reason)
        except LostError as error:
            return self.lost(shape, str(error))

    def lost(self, shape: Sequence[int], reason: str) -> Reach:
        """The whole image, UNKNOWN."""
        spans = whole(self.image[0]), whole(self.image[1])
        return Reach(tuple(plain(n) for n in shape), spans, "UNKNOWN", reason)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        rule = RULES.get(name_of(func)) or (pointwise if torch.Tag.pointwise in func.tags else None)
        if rule is None:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        bound = bind(func, args, kwargs)
        reaches = {id(t): reach for t in tree_leaves(bound) if (reach := self.get(t)) is not None}
        out = func(*args, **kwargs)
        if reaches:
            self.note(func, rule, bound, reaches, out)
        return out

    def note(self, func: Any, rule: Any, bound: Mapping[str, Any], reaches: Mapping[int, Reach], out: Any) -> None:
        """Put what the rule says of the outputs, and of the arguments that were written to."""
        tensors = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        shapes = [tuple(t.shape) for t in tensors]
        found = self.follow(rule, Op(name_of(func), bound, shapes, lambda t: reaches.get(id(t)), func), reaches)
        names = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        written = tree_leaves([bound.get(name) for name in names])
        for i, tensor in enumerate(tensors):
            reach = found[i] if isinstance(found, list) else found if shapes[i] == shapes[0] else None
            self.put(tensor, reach, wrote=any(tensor is t for t in written))
        for tensor in written:
            if isinstance(tensor, Tensor) and not any(tensor is t for t in tensors):
                self.put(tensor, self.lost(tensor.shape, f"aten.{name_of(func)} writes to its argument"), wrote=True)

    def follow(self, rule: Callable[[Op], Result] | None, op: Op, reaches: Mapping[int, Reach]) -> Result:
        """What the rule says; the whole image where it cannot."""
        try:
            if rule is None:
                attention = "attention" in op.name
                raise LostError("attention lets the whole image in" if attention else f"aten.{op.name} has no rule")
            return rule(op)
        except LostError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - any architecture that runs has an answer, and the answer names the fault
            reason = f"the rule of aten.{op.name} failed: {error}"
        worst = next((r for r in reaches.values() if r.status == "UNKNOWN" and not r.places), None)
        return [self.lost(shape, worst.reason if worst else reason) for shape in op.shapes]

    def field(self, output: Any) -> Field:
        """The field of a layer's output as it stands now."""
        tensor = next((t for t in tree_leaves(output) if isinstance(t, Tensor)), None)
        reach = None if tensor is None else self.get(tensor)
        if reach is None:
            reach = self.lost((), "no path from the image to this layer was seen")
        reason = reach.reason
        if reach.status == "EXACT" and reach.mixed:
            reason = "channels of a concatenation differ; the box is that of all of them together"
        rows, columns = reach.spans
        ends = [np.where((s.high > s.low)[:, None], np.stack([s.low, s.high], axis=1), 0) for s in (rows, columns)]
        return Field(
            reach.status, reason, self.image,
            (math.ceil(rows.size), math.ceil(columns.size)), (rows.jump, columns.jump), (rows.start, columns.start),
            ends[0], ends[1],
        )  # fmt: skip


def name_of(func: Any) -> str:
    """An operation's name without namespace, overload, and the underscore of in-place ones."""
    return str(func._schema.name).rpartition("::")[2].removesuffix("_")


def bind(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """An operation's arguments by the schema's names, defaults included."""
    bound: dict[str, Any] = {}
    for i, argument in enumerate(func._schema.arguments):
        if i < len(args) and not argument.kwarg_only:
            bound[argument.name] = args[i]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound
