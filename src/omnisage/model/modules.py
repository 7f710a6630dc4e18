"""A `torch.nn.ModuleDict` that tells the type checker what its modules are."""

from collections.abc import ItemsView, Mapping, ValuesView
from typing import Generic, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


class Modules(nn.ModuleDict, Generic[M]):
    """Modules of one type, by name."""

    def __init__(self, modules: Mapping[str, M]):
        super().__init__(modules)

    def __getitem__(self, key: str) -> M:
        return cast(M, super().__getitem__(key))

    def items(self) -> ItemsView[str, M]:
        return cast("ItemsView[str, M]", super().items())

    def values(self) -> ValuesView[M]:
        return cast("ValuesView[M]", super().values())
