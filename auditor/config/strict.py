"""What every table of audit.toml is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """No key but its own, no type but the one that is asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
