"""When events happened, as sines and cosines of fixed periods (PinnerFormer §3.2).

Of the date: periods of human life, from a quarter of an hour to a year. Of the time since the event before: periods one
octave apart, and the logarithm of that time itself. A row's first event has no time since the one before: zeros.

Unix seconds have 31 bits and float32 has 24: in float32 they are multiples of 128 s. So the remainder by each period is
taken in integers, exactly, and only the phase, in [0, 2 pi), is a float.

Shapes: B users, L events, T periods, D width of tokens.
"""

import math

import torch
from torch import Tensor, nn

_HOUR_S, _DAY_S = 3600, 86400
DATE_PERIODS_S = (
    *(_HOUR_S // 4 * quarters for quarters in (1, 2, 3, 4, 8, 16, 32, 64)),
    *(_DAY_S * days for days in (1, 7, 28, 365)),
)
# From 2 s, since whole seconds have the same phase in any shorter one, to four weeks.
PAUSE_PERIODS_S = tuple(round(2 * 2 ** (i * math.log2(14 * _DAY_S) / 20)) for i in range(21))
_LOG_LONGEST = math.log1p(PAUSE_PERIODS_S[-1])


class TimeFeatures(nn.Module):
    """Times to a vector to add to each event's token."""

    date_periods_T: Tensor
    pause_periods_T: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("date_periods_T", torch.tensor(DATE_PERIODS_S), persistent=False)
        self.register_buffer("pause_periods_T", torch.tensor(PAUSE_PERIODS_S), persistent=False)
        num_periods = len(DATE_PERIODS_S) + len(PAUSE_PERIODS_S)
        self.project = nn.Linear(2 * num_periods + 1, dim)
        # A sine and its cosine have squares of sum 1: so what is added starts as small as the other labels of an event.
        nn.init.normal_(self.project.weight, std=0.1 / num_periods**0.5)

    def forward(self, times_BL: Tensor) -> Tensor:
        """Place events in time.

        Args:
            times_BL: Unix seconds, int64, not falling along a row.

        Returns:
            [B, L, D]; entry i depends on times i - 1 and i alone.
        """
        pauses_BL = (times_BL[:, 1:] - times_BL[:, :-1]).clamp(min=0)
        dtype = self.project.weight.dtype
        of_dates = sines(times_BL, self.date_periods_T, dtype)
        log_pauses_BL1 = (pauses_BL.double().log1p() / _LOG_LONGEST).to(dtype)[..., None]
        of_pauses = torch.cat([sines(pauses_BL, self.pause_periods_T, dtype), log_pauses_BL1], dim=-1)
        first = of_pauses.new_zeros(len(times_BL), min(times_BL.shape[1], 1), of_pauses.shape[-1])
        return self.project(torch.cat([of_dates, torch.cat([first, of_pauses], dim=1)], dim=-1))


def sines(seconds_BL: Tensor, periods_T: Tensor, dtype: torch.dtype) -> Tensor:
    """Sine and cosine of the phase in each period.

    Args:
        seconds_BL: int64.
        periods_T: seconds, int64.
        dtype: of the result.

    Returns:
        [B, L, 2T], all sines first.
    """
    phases_BLT = 2 * math.pi * (seconds_BL[..., None] % periods_T).double() / periods_T
    phases_BLT = phases_BLT.to(dtype)
    return torch.cat([phases_BLT.sin(), phases_BLT.cos()], dim=-1)
