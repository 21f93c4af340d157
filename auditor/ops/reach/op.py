"""One tensor operation as it ran, as the rules read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from auditor.ops.reach.reach import Reach
from auditor.ops.reach.span import LostError

Result: TypeAlias = Reach | list[Reach] | None
"""That of every output of the first one's shape; or one an output; or None: they do not depend on the image."""


@dataclass(frozen=True)
class Op:
    """One operation of aten."""

    name: str
    """Without overload, and without the underscore of in-place ones."""
    args: Mapping[str, Any]
    """By the schema's names."""
    shapes: Sequence[tuple[int, ...]]
    """Of the tensors that came out."""
    reach: Callable[[Any], Reach | None]
    """Of an argument; None where it is no tensor or does not depend on the image."""
    call: Callable[..., Any]

    def tracked(self) -> list[Reach]:
        """The reaches of all tensor arguments, lists included."""
        flat = [t for a in self.args.values() for t in (a if isinstance(a, list | tuple) else [a])]
        return [r for t in flat if (r := self.reach(t)) is not None]

    def only(self) -> Reach:
        """That of the one argument that depends on the image. Raises LostError where there are several."""
        found = self.tracked()
        if len(found) != 1:
            raise LostError(f"{self.name} of several things that depend on the image")
        return found[0]

    def dim(self, name: str = "dim") -> int:
        """A dimension argument, counted from the front."""
        return int(self.args[name]) % max(len(self.only().dims), 1)

    def ints(self, name: str, rank: int, default: Sequence[int] = (0,)) -> list[int]:
        """An int list argument with one entry a dimension; `default` where it is empty or the operation has none."""
        values = self.args.get(name, ())
        given = [int(v) for v in (values if isinstance(values, list | tuple) else [values])] or list(default)
        return given * rank if len(given) == 1 else given
