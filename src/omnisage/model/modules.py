"""What the other modules share."""

from collections.abc import ItemsView, Mapping, ValuesView
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)


class Modules(nn.ModuleDict, Generic[M]):
    """A `torch.nn.ModuleDict` that tells the type checker what its modules are."""

    def __init__(self, modules: Mapping[str, M]):
        super().__init__(modules)

    def __getitem__(self, key: str) -> M:
        return cast(M, super().__getitem__(key))

    def items(self) -> ItemsView[str, M]:
        return cast("ItemsView[str, M]", super().items())

    def values(self) -> ValuesView[M]:
        return cast("ValuesView[M]", super().values())


class Projection(nn.Module):
    """A small MLP beside a linear map (OmniSage, appendix A.3, has the MLP alone).

    The linear path lets what identifies an entity pass from a neighbor's place into an embedding as it does from the
    entity's own place, without one MLP learning to undo another entity by entity.
    """

    def __init__(self, width_in: int, width_out: int, *, dropout: float = 0.0):
        super().__init__()
        self.linear = nn.Linear(width_in, width_out)
        self.mlp = nn.Sequential(
            nn.Linear(width_in, 2 * width_out), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * width_out, width_out)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., width_in] to [..., width_out]."""
        return self.linear(inputs) + self.mlp(inputs)


def widened(values: Tensor) -> Tensor:
    """The values in float32 at least.

    For what is read at many places of a batch: torch adds up its gradient in its own type, and sums of bfloat16 stop
    growing at 256 times what is added (on a CPU, 10,000 numbers of 1/4 add up to 256 * 1/4).
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def unit_rows(rows: Tensor) -> Tensor:
    """Rows [..., E] scaled to length 1, in float32 at least."""
    return functional.normalize(widened(rows), dim=-1)
