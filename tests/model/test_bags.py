"""The native sums of bags against torch's in double precision, in values and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisage import _native
from omnisage.batches.batch import Bags
from omnisage.model.bags import sum_categories, sum_hashed

lengths = st.lists(st.integers(0, 12), max_size=30)
widths = st.sampled_from([1, 7, 16, 48, 64, 80, 150])


def random_bags(lengths: list[int], bound: int) -> Bags:
    offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    return Bags(torch.randint(-bound, bound, (int(offsets[-1]),)), offsets)


def gradients(sums: Tensor, sources: list[Tensor]) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, sums.numel(), dtype=torch.float64).view_as(sums)
    return torch.autograd.grad((sums * weights).sum(), sources)


def assert_close(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    # Hundreds of float32 numbers about 1 add up to what may be near 0: what is left of their rounding is up to 1e-5.
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=5e-5)


@settings(max_examples=40, deadline=None)
@given(lengths=lengths, num_rows=st.integers(1, 40), num_hashes=st.integers(1, 3), width=widths)
def test_hashed_sums_equal_torchs_in_values_and_gradients(
    lengths: list[int], num_rows: int, num_hashes: int, width: int
) -> None:
    torch.manual_seed(0)
    texts = random_bags(lengths, 2**62)
    table, importance = (torch.randn(num_rows, n).requires_grad_() for n in (width, num_hashes))
    multipliers = torch.randint(2**62, (num_hashes + 1,)) * 2 + 1
    exact = [x.detach().double().requires_grad_() for x in (table, importance)]
    ours = sum_hashed(texts, table, importance, multipliers)
    theirs = sum_hashed(texts, *exact, multipliers)
    assert ours.dtype == torch.float32
    assert theirs.dtype == torch.float64
    assert_close((ours, *gradients(ours, [table, importance])), (theirs, *gradients(theirs, exact)))


@settings(max_examples=20, deadline=None)
@given(lengths=lengths, num_rows=st.integers(1, 40), width=widths)
def test_sums_of_categories_equal_torchs_in_values_and_gradients(lengths: list[int], num_rows: int, width: int) -> None:
    torch.manual_seed(0)
    drawn = random_bags(lengths, num_rows)
    categories = Bags(drawn.values.abs() % num_rows, drawn.offsets)
    table = torch.randn(num_rows, width).requires_grad_()
    exact = table.detach().double().requires_grad_()
    ours, theirs = sum_categories(categories, table), sum_categories(categories, exact)
    assert_close((ours, *gradients(ours, [table])), (theirs, *gradients(theirs, [exact])))


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, 700))])
    rows = rng.integers(97, size=(offsets[-1], 3), dtype=np.uint32)
    table, importance, by_sums = (rng.random(shape, np.float32) for shape in ((97, 24), (97, 2), (700, 24)))
    given = rows, offsets, table, importance
    found = [
        (
            _native.sum_bags(*given, num_threads=threads).tobytes(),
            *(x.tobytes() for x in _native.sum_bags_backward(*given, by_sums, num_threads=threads)),
        )
        for threads in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]


def test_a_row_that_the_table_lacks_is_named() -> None:
    table = torch.randn(3, 4)
    with pytest.raises(IndexError, match=r"rows\[1, 0\] is 3, but the table has 3 rows"):
        sum_categories(Bags(torch.tensor([0, 3]), torch.tensor([0, 2])), table)
    rows, offsets = np.zeros((2, 1), np.uint32), np.array([0, 1, 0])
    with pytest.raises(ValueError, match=r"offsets\[2\] is 0; offsets must rise within 0 .. 2"):
        _native.sum_bags(rows, offsets, table.numpy(), None)
