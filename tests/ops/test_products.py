"""Sets of rows by matrices that stay: the same as one product a place, however many sets there are."""

from __future__ import annotations

import pytest
import torch

from auditor.ops.products import FEW, MANY, Products, call_size, filled
from tests.ops.compared import EXACT, apart, drawn


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, MANY, MANY + 1, 2 * MANY - 5, 3 * MANY + FEW])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, EXACT), (torch.float32, 1e-5)])
def test_it_is_a_product_a_place(count: int, dtype: torch.dtype, close: float) -> None:
    """In float64, which is not laid out, and in float32, which is where the kernels are there."""
    matrices, rows = drawn(5, 24, 32, dtype=dtype), drawn(count, 5, 32, seed=1, dtype=dtype)
    parts = list(Products(lambda: matrices).of(rows))
    assert apart(torch.cat(parts), torch.einsum("npi,poi->npo", rows, matrices)) < close


def test_rows_do_not_meet_what_fills_them_up() -> None:
    """A set that is not a number stays alone."""
    matrices, rows = drawn(2, 16, 16, dtype=torch.float32), drawn(3, 2, 16, seed=1, dtype=torch.float32)
    rows[1] = torch.nan
    (found,) = Products(lambda: matrices).of(rows)
    assert found[1].isnan().all()
    assert found[[0, 2]].isfinite().all()


def test_a_second_layout_is_made_where_filling_up_costs_more() -> None:
    assert [filled(total) for total in (1, MANY, MANY + 1, MANY + 40, 20 * MANY + 1)] == [
        MANY,
        MANY,
        MANY + FEW,
        2 * MANY,
        21 * MANY,
    ]
    assert call_size(3, 3) == MANY, "those of which there are never more are laid out once"
    products = Products(lambda: drawn(2, 16, 16, dtype=torch.float32))
    for count in (3, MANY, MANY + 1):
        list(products.of(drawn(count, 2, 16, dtype=torch.float32)))
    assert set(products.laid) == {MANY, FEW}
