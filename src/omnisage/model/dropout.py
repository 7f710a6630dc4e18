"""Dropout from random bytes, alone and after GELU: one pass over the numbers, forward and backward.

`torch.nn.Dropout` draws one number after the other on a CPU, at a cost of as much as the products of the layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage import _native


class Dropout(nn.Module):
    """Dropout with a probability in steps of 1/256, from one random byte per number."""

    def __init__(self, probability: float):
        super().__init__()
        self.num_dropped = min(round(256 * probability), 255)  # of 256; not all, or nothing could keep the mean

    def forward(self, values: Tensor) -> Tensor:
        """The same shape; in training some values are 0, the others larger, so that the mean stays."""
        if not self.training or self.num_dropped == 0:
            return values
        if _is_native(values):
            return _Dropped.apply(values, _random_bytes(values), self.num_dropped)
        return self._drop(values)

    def after_gelu(self, values: Tensor) -> Tensor:
        """`self(gelu(values))`."""
        if not self.training or self.num_dropped == 0:
            return functional.gelu(values)
        if _is_native(values):
            return _GeluDropped.apply(values, _random_bytes(values), self.num_dropped)
        return self._drop(functional.gelu(values))

    def _drop(self, values: Tensor) -> Tensor:
        return values * (_random_bytes(values) >= self.num_dropped) * (256 / (256 - self.num_dropped))


def _is_native(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.float32


def _random_bytes(values: Tensor) -> Tensor:
    """One per number, in the same shape."""
    words = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device).random_(-(2**63), None)
    return words.view(torch.uint8)[: values.numel()].view(values.shape)


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().reshape(-1).contiguous().numpy()  # the gradient of a sum is one number, expanded


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, random: Tensor, num_dropped: int) -> Tensor:
        ctx.save_for_backward(random)
        ctx.num_dropped = num_dropped
        found = _native.dropout(_flat(values), _flat(random), num_dropped, num_threads=torch.get_num_threads())
        return torch.from_numpy(found).view(values.shape)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (random,) = ctx.saved_tensors
        threads = torch.get_num_threads()
        found = _native.dropout(_flat(upstream[0]), _flat(random), ctx.num_dropped, num_threads=threads)
        return torch.from_numpy(found).view(random.shape), None, None


class _GeluDropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, random: Tensor, num_dropped: int) -> Tensor:
        ctx.save_for_backward(values, random)
        ctx.num_dropped = num_dropped
        found = _native.gelu_dropout(_flat(values), _flat(random), num_dropped, num_threads=torch.get_num_threads())
        return torch.from_numpy(found).view(values.shape)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        values, random, by_output = (_flat(x) for x in (*ctx.saved_tensors, upstream[0]))
        threads = torch.get_num_threads()
        found = _native.gelu_dropout_backward(values, random, ctx.num_dropped, by_output, num_threads=threads)
        return torch.from_numpy(found).view(upstream[0].shape), None, None
