"""The optimizer and the average of weights, the same for the model and for trained baselines."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def build_optimizer(
    parameters: Sequence[nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; only matrices and tables decay: biases, norms, gates and temperatures have no reason to be small."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One pass over weights and moments, a quarter of the time of the default on a CPU.
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


class MovingAverage:
    """An exponential moving average of parameters, which evaluates better than any single step's (Polyak averaging)."""

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float | None):
        """Args: `decay` is the share of itself that the average keeps in a step; None: there is no average."""
        self.parameters = list(parameters)
        self.decay = decay
        self.values: list[Tensor] = []  # like the parameters; empty before the first step

    def update(self, step: int) -> None:
        """Take in the parameters after a step; the first steps count more, so that the start is soon forgotten."""
        if self.decay is None:
            return
        if not self.values:
            self.values = [parameter.detach().clone() for parameter in self.parameters]
        decay = min(self.decay, (1 + step) / (10 + step))
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value.lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Generator[None]:
        """While it lasts the parameters are their average."""
        if not self.values:
            yield
            return
        latest = [parameter.data for parameter in self.parameters]
        self._point_at(self.values)
        try:
            yield
        finally:
            self._point_at(latest)

    def _point_at(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.data = value
