"""A forward without a gradient in which a convolution adds and rectifies what it gives as it writes it, on the CPU.

A rectifier of its own reads and writes a whole map for one comparison a number, a sum for one addition: a folded ResNet-20 spends
a quarter of its time on them. The forward is traced (torch.fx); what cannot be traced is not fused.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from auditor.ops.frozen import Convolution, state_of
from auditor.ops.packed import convolved, packed, packs

RECTIFIERS = (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_", nn.ReLU)
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem)
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""What does nothing in a model in eval mode."""


class Fused(nn.Module):
    """A convolution, what is added to it, and the rectifier behind both."""

    def __init__(self, conv: nn.Conv2d, *, rectified: bool) -> None:
        super().__init__()
        self.conv, self.rectified = conv, rectified
        self.over = False
        """Whether what is added is read by nobody else: the sum is laid over it."""
        self.laid: Tensor | None = None
        self.state: tuple[Any, ...] = ()
        assert not isinstance(conv.padding, str)
        self.how = (conv.stride, conv.padding, conv.dilation, conv.groups)

    def forward(self, maps: Tensor, added: Tensor | None = None) -> Tensor:
        """(n,I,h,w) -> (n,O,h',w')."""
        if packs(maps, self.conv.weight, least=1):
            state = state_of(self.conv.weight)
            if self.laid is None or self.state != state:
                self.laid, self.state = packed(self.conv.weight, tuple(maps.shape), *self.how), state
            if self.laid is not None:
                return convolved(
                    maps, self.laid, self.conv.bias, *self.how, added=added, over=self.over, rectified=self.rectified
                )
        found: Tensor = self.conv(maps)
        found = found if added is None else found + added
        return functional.relu(found) if self.rectified else found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "laid": None}  # what is laid out cannot be copied


class Tracer(fx.Tracer):
    """Stops at the convolutions of `ops.frozen` as well, which go their own way."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one operation of the graph."""
        return isinstance(m, Convolution) or super().is_leaf_module(m, module_qualified_name)


def fused(model: nn.Module, example: Tensor, agreement: float) -> nn.Module | None:
    """`model` (frozen, in eval mode), its convolutions fused with what follows; None where nothing is, or it cannot be traced.

    It shares the weights. To be called without gradients, with as many images as one likes of the size of `example` (n,C,H,W).
    Tracing takes `x += y` for `x = x + y`, what a forward draws at random or counts as it was then, and a branch as it went then
    where it hides that it looks at values. So it is given only where it answers as the model does, to `agreement` of the largest
    number, on `example`, its negative and 255 times it, by one, by all and by twice as many images: elsewhere it may differ.
    """
    try:
        made = fx.GraphModule(model, Tracer().trace(model))
        shapes = Shapes(made)
        with torch.no_grad():
            shapes.run(example.clone())
            if not fuse(made, shapes.of):
                return None
            for given in (example, example[:1], -example, 255 * example, torch.cat([example, example])):
                answer, again = model(given.clone()), made(given.clone())
                if not float((again - answer).abs().max()) <= agreement * float(answer.abs().max()):
                    return None
        return made
    except Exception:  # noqa: BLE001 - whatever a user's own module does not bear, it goes on as it is
        return None


class Shapes(fx.Interpreter):
    """Remembers what shape each node gives."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[fx.Node, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        """The node's value."""
        found = super().run_node(n)
        if isinstance(found, Tensor):
            self.of[n] = found.shape
        return found


def fuse(made: fx.GraphModule, shapes: dict[fx.Node, torch.Size]) -> int:
    """Fuse in place what can be; how many convolutions."""
    modules = dict(made.named_modules())
    for node in list(made.graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], NOTHING) and plain(modules[node.target]):
            node.replace_all_uses_with(node.args[0])
            made.graph.erase_node(node)
    order = {node: place for place, node in enumerate(made.graph.nodes)}
    writes = [order[node] for node in made.graph.nodes if writes_in_place(node, modules)]
    count = 0
    for node in list(made.graph.nodes):
        if node.op != "call_module" or not fuses(modules[node.target]) or len(node.args) != 1:
            continue
        end, added = node, None
        after = only_reader(node)
        if after is not None and is_one_of(after, SUMS, modules):
            added = other_term(after, node)
            quiet = not any(order[node] < place < order[after] for place in writes)
            if added is None or not quiet or shapes.get(added) != shapes.get(node):
                continue
            end, after = after, only_reader(after)
        rectified = after is not None and is_one_of(after, RECTIFIERS, modules)
        if end is node and not rectified:
            continue
        last = after if rectified else end
        assert last is not None
        name = f"fused_{count}"
        modules[name] = Fused(modules[node.target], rectified=rectified)
        made.add_submodule(name, modules[name])
        with made.graph.inserting_before(node if added is None else end):
            new = made.graph.call_module(name, (node.args[0],) if added is None else (node.args[0], added))
        order[new] = order[node if added is None else end]
        shapes[new] = shapes[node]
        last.replace_all_uses_with(new)
        for old in dict.fromkeys((last, end, node)):
            made.graph.erase_node(old)
        count += 1
    spare(made)
    made.graph.lint()
    made.recompile()
    return count


def spare(made: fx.GraphModule) -> None:
    """Lay each sum over what is added, where that was made by a fused convolution and is read by such alone, the sum last."""
    modules = dict(made.named_modules())

    def is_fused(node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(modules[str(node.target)], Fused)

    order = {node: place for place, node in enumerate(made.graph.nodes)}
    for node in filter(is_fused, made.graph.nodes):
        if len(node.args) == 2 and is_fused(node.args[1]):
            readers = node.args[1].users
            last = node.args[0] is not node.args[1] and max(readers, key=order.__getitem__) is node
            modules[str(node.target)].over = last and all(map(is_fused, readers))


def fuses(module: nn.Module) -> bool:
    """Whether it is a convolution that the fused operation carries out."""
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str) and plain(module)


def plain(module: nn.Module) -> bool:
    """Whether it does what its class does, and nothing is hung on it."""
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def only_reader(node: fx.Node) -> fx.Node | None:
    """The one node that reads this one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def kind(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """What a node calls: a function, the name of a method, or the class of a module."""
    return type(modules[str(node.target)]) if node.op == "call_module" else node.target


def is_one_of(node: fx.Node, kinds: tuple[Any, ...], modules: dict[str, nn.Module]) -> bool:
    """Whether a node calls one of `kinds` with nothing but tensors: no factor, no place for the result."""
    if node.op not in ("call_module", "call_function", "call_method") or set(node.kwargs) - {"inplace"}:
        return False
    if node.op == "call_module" and not plain(modules[str(node.target)]):
        return False
    return kind(node, modules) in kinds and all(isinstance(given, fx.Node) for given in operands(node))


def operands(node: fx.Node) -> Iterator[Any]:
    """What it is given, without the flag of a rectifier."""
    return (given for given in node.args if not isinstance(given, bool))


def other_term(node: fx.Node, one: fx.Node) -> fx.Node | None:
    """What a sum adds to `one`; None where it adds it to itself, or writes into what it adds to."""
    first, *rest = node.args
    if len(rest) != 1 or first is rest[0]:
        return None
    if first is one:
        return rest[0] if isinstance(rest[0], fx.Node) else None
    return first if isinstance(first, fx.Node) and node.target not in (operator.iadd, "add_") else None


def writes_in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether it may change what it is given."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    named = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    flagged = node.kwargs.get("inplace", False) is not False or any(given is True for given in node.args)
    made = node.op in ("call_function", "call_method")
    return made and (
        node.target in IN_PLACE or flagged or "out" in node.kwargs or (named.endswith("_") and not named.endswith("__"))
    )
