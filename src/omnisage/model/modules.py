"""What the other modules share."""

from collections.abc import ItemsView, Mapping, ValuesView
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.model.late import Unprojected, padded

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
        fixed, learned = _by_gradient(parts)
        if not learned or _width(parts, fixed) < _width(parts, learned):
            return self(torch.cat(parts, dim=1))
        fixed_UV, learned_UV = (torch.cat([parts[i] for i in group], dim=1) for group in (fixed, learned))
        widths = [part.shape[1] for part in parts]

        def apply(linear: nn.Linear) -> Tensor:
            by_fixed, by_learned = (_columns(linear.weight, widths, group) for group in (fixed, learned))
            return torch.addmm(functional.linear(fixed_UV, by_fixed, linear.bias), learned_UV, by_learned.T)

        return apply(self.linear) + self.mlp[1:](apply(self._first))

    def unprojected(self, parts: list[Tensor]) -> Unprojected:
        """`of_parts` without its last linear maps, the second layer of the MLP and the linear path."""
        fixed, learned = _by_gradient(parts)
        widths = [part.shape[1] for part in parts]
        fixed_UV = padded(torch.cat([*(parts[i] for i in fixed), parts[0].new_ones(len(parts[0]), 1)], dim=1))
        inputs = [fixed_UV, *([padded(torch.cat([parts[i] for i in learned], dim=1))] if learned else [])]

        def weights(weight: Tensor, bias: Tensor) -> list[Tensor]:
            with_bias = padded(torch.cat([_columns(weight, widths, fixed), bias[:, None]], dim=1))
            return [with_bias, *([padded(_columns(weight, widths, learned))] if learned else [])]

        by_input = weights(self._first.weight, self._first.bias)
        hidden_UV = functional.linear(inputs[0], by_input[0])
        for values, weight in zip(inputs[1:], by_input[1:], strict=True):
            hidden_UV = torch.addmm(hidden_UV, values, weight.T)
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        straight = weights(self.linear.weight, self.linear.bias + last.bias)
        return Unprojected(
            [*inputs, padded(self.mlp[1:-1](hidden_UV))], torch.cat([*straight, padded(last.weight)], dim=1)
        )

    @property
    def _first(self) -> nn.Linear:
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        return first


def _by_gradient(parts: list[Tensor]) -> tuple[list[int], list[int]]:
    """Which of the parts need no gradient, and which need one."""
    learned = [i for i, part in enumerate(parts) if part.requires_grad]
    return [i for i in range(len(parts)) if i not in learned], learned


def _width(parts: list[Tensor], group: list[int]) -> int:
    return sum(parts[i].shape[1] for i in group)


def _columns(weight: Tensor, widths: list[int], group: list[int]) -> Tensor:
    """The columns of a weight that belong to some parts of the input; [out, 0] for none."""
    columns = weight.split(widths, dim=1)
    return torch.cat([weight[:, :0], *(columns[i] for i in group)], dim=1)


def widened(values: Tensor) -> Tensor:
    """The values in float32 at least.

    For what is read at many places of a batch: torch adds up its gradient in its own type, and sums of bfloat16 stop
    growing at 256 times what is added (on a CPU, 10,000 numbers of 1/4 add up to 256 * 1/4).
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


class Finish(nn.Module):
    """What layers give, and what is added to it, to embeddings: of entities and of users alike."""

    def __init__(self, embedding_dim: int, *, unit_length: bool):
        super().__init__()
        self.scale = embedding_dim**-0.5
        self.unit_length = unit_length

    def forward(self, layers: Tensor, added: Tensor | None = None) -> Tensor:
        """[..., E] with components of about variance 1, and what is added to rows of about length 1; float32 at least.

        Rows have length 1, or with `unit_length` false the length that comes out.
        """
        rows = widened(layers) * self.scale
        rows = rows if added is None else rows + added
        return unit_rows(rows) if self.unit_length else rows


def unit_rows(rows: Tensor) -> Tensor:
    """Rows [..., E] scaled to length 1, in float32 at least."""
    return functional.normalize(widened(rows), dim=-1)
