"""Sums of table rows per bag of values, what hashed texts and categories are looked up by.

On a CPU in float32 a native kernel (`native/bags.hpp`) adds up, forward and backward; everywhere else torch does, whose
gradient sorts all values. Both give the same up to rounding (`tests/model/test_bags.py`).

Shapes: U bags of n values together, H hash functions, R rows of the table, V their width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omnisage import _native
from omnisage.batches.batch import Bags


def sum_categories(bags: Bags, table: Tensor) -> Tensor:
    """The sums [U, V] of the rows of `table` [R, V] that the values are."""
    if not _is_native(bags, table):
        return functional.embedding_bag(bags.values, table, bags.offsets[:-1], mode="sum")
    rows = bags.values.to(torch.uint32)[:, None].numpy()
    return _SummedBags.apply(table, None, rows, bags.offsets.numpy())


def sum_hashed(bags: Bags, table: Tensor, importance: Tensor, multipliers: Tensor) -> Tensor:
    """The sums [U, V] of the values' rows of `table` [R, V], one per hash function, each times its importance.

    Args:
        bags: any 64-bit values.
        importance: [R, H]; the last hash function says which row is a value's.
        multipliers: [H + 1] int64, odd: multiply-shift hashing takes bits 20 to 62 of the product.
    """
    if _is_native(bags, table):
        threads = torch.get_num_threads()
        rows = _native.hash_buckets(bags.values.numpy(), multipliers.numpy(), len(table), num_threads=threads)
        return _SummedBags.apply(table, importance, rows, bags.offsets.numpy())
    hashed = ((bags.values[:, None] * multipliers) >> 20) & 0x7FFFFFFFFFF
    rows = hashed % len(table)
    weights = functional.embedding(rows[:, -1], importance)
    return functional.embedding_bag(
        rows[:, :-1].flatten(),
        table,
        bags.offsets[:-1] * weights.shape[1],
        per_sample_weights=weights.flatten(),
        mode="sum",
    )


def _is_native(bags: Bags, table: Tensor) -> bool:
    is_plain = bags.values.device.type == "cpu" and table.dtype == torch.float32
    return is_plain and not torch.compiler.is_exporting()


class _SummedBags(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, importance: Tensor | None, rows: Any, offsets: Any) -> Tensor:
        ctx.save_for_backward(table, importance)
        ctx.rows, ctx.offsets = rows, offsets
        sums = _native.sum_bags(rows, offsets, *_arrays(table, importance), num_threads=torch.get_num_threads())
        return torch.from_numpy(sums)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        table, importance = ctx.saved_tensors
        by_table, by_importance = _native.sum_bags_backward(
            ctx.rows,
            ctx.offsets,
            *_arrays(table, importance),
            upstream[0].contiguous().numpy(),
            num_threads=torch.get_num_threads(),
        )
        return torch.from_numpy(by_table), None if importance is None else torch.from_numpy(by_importance), None, None


def _arrays(table: Tensor, importance: Tensor | None) -> tuple[Any, Any]:
    return table.detach().numpy(), None if importance is None else importance.detach().numpy()
