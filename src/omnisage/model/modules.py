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
            nn.Linear(width_in, 2 * width_out),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(2 * width_out, width_out),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., width_in] to [..., width_out]."""
        return self.linear(inputs) + self.mlp(inputs)

    def of_parts(self, parts: list[Tensor]) -> Tensor:
        """`self(torch.cat(parts, dim=1))`; the gradient by parts that need none, such as images, is not computed.

        Args:
            parts: [U, width] each, which together have the width that comes in.
        """
        widths = [part.shape[1] for part in parts]
        learned = [i for i, part in enumerate(parts) if part.requires_grad]
        fixed = [i for i, part in enumerate(parts) if not part.requires_grad]
        if not learned or sum(widths[i] for i in fixed) < sum(widths[i] for i in learned):
            return self(torch.cat(parts, dim=1))
        fixed_UV, learned_UV = (torch.cat([parts[i] for i in group], dim=1) for group in (fixed, learned))

        def apply(linear: nn.Linear) -> Tensor:
            columns = linear.weight.split(widths, dim=1)
            by_fixed, by_learned = (torch.cat([columns[i] for i in group], dim=1) for group in (fixed, learned))
            return torch.addmm(functional.linear(fixed_UV, by_fixed, linear.bias), learned_UV, by_learned.T)

        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        return apply(self.linear) + self.mlp[1:](apply(first))


def widened(values: Tensor) -> Tensor:
    """The values in float32 at least.

    For what is read at many places of a batch: torch adds up its gradient in its own type, and sums of bfloat16 stop
    growing at 256 times what is added (on a CPU, 10,000 numbers of 1/4 add up to 256 * 1/4).
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def unit_rows(rows: Tensor) -> Tensor:
    """Rows [..., E] scaled to length 1, in float32 at least."""
    return functional.normalize(widened(rows), dim=-1)
