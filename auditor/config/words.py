"""What is wrong with a configuration, on one line: where it stands, what was expected, what was got."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

EXPECTED: Mapping[str, str] = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_too_short": "some text",
    "bool_type": "true or false",
}
"""Type of a fault -> what was expected."""


def in_words(error: ValidationError, root: type[BaseModel]) -> str:
    """The first fault of many in the content of `root`; unknown keys come before others, as they often cause them."""
    faults: list[Any] = list(error.errors(include_url=False))
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    loc, kind = fault["loc"], fault["type"]
    if kind == "extra_forbidden":
        known = list(table_at(root, loc[:-1]).model_fields)
        close = get_close_matches(str(loc[-1]), known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{place(loc[:-1])} has no key {str(loc[-1])!r}{hint}; it knows {', '.join(known) or 'none'}{more}"
    if kind == "missing":
        return f"{place(loc[:-1])} lacks the key {loc[-1]!r}; add it{more}"
    if kind == "value_error":
        return f"{place(loc)}: {fault['msg'].removeprefix('Value error, ')}{more}"
    return f"{place(loc)}: {expected(fault, root)}, got {shown(fault['input'])}{more}"


def expected(fault: Mapping[str, Any], root: type[BaseModel]) -> str:
    """What should have stood there."""
    kind, loc = fault["type"], fault["loc"]
    if kind == "literal_error":
        return f"expected {fault['ctx']['expected']}"
    if kind == "string_pattern_mismatch":
        return f"expected {table_at(root, loc[:-1]).model_fields[str(loc[-1])].description}"
    message = str(fault["msg"])
    return f"expected {EXPECTED[kind]}" if kind in EXPECTED else message.replace("Input should be", "expected a value", 1)


def place(loc: tuple[int | str, ...]) -> str:
    """("gate", "rules", 0, "level") as `[[gate.rules]] number 1, level`."""
    names = [str(part) for part in loc]
    if names[:2] in (["gate", "rules"], ["gate", "waivers"]):
        number = f" number {int(names[2]) + 1}" if len(names) > 2 else ""
        return ", ".join([f"[[gate.{names[1]}]]{number}", *names[3:]])
    if not names or names[0] == "requires":
        return "".join(names) or "the file"
    return ", ".join([f"[{names[0]}]", *names[1:]])


def table_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the table at a place: each field is a model, or a list of one."""
    for part in loc:
        if isinstance(part, str):
            kind = root.model_fields[part].annotation
            root = next(k for k in (kind, *getattr(kind, "__args__", ())) if isinstance(k, type) and issubclass(k, BaseModel))
    return root


def shown(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
