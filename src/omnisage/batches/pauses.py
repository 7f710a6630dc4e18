"""The time between a user's events, as a few classes: what a session is can be read from them.

Shapes: B users, L events.
"""

import numpy as np
from numpy.typing import NDArray

NUM_PAUSES = 34


def pause_classes(times_BL: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class [B, L] int64 of the pause before each event: 0 for a row's first, then 1 + bits of the seconds.

    So 1 is the same second, 2 one second, 3 two to three, ..., 18 a day (18 to 36 hours), 33 the longest.

    Args:
        times_BL: Unix seconds, not falling along a row; where they fall (behind a user's last event) the class is 1.
    """
    classes_BL = np.zeros(times_BL.shape, np.int64)
    pauses = np.clip(np.diff(times_BL, axis=1), 0, 2**32 - 1)
    classes_BL[:, 1:] = 1 + np.frexp(pauses.astype(np.float64))[1]
    return np.minimum(classes_BL, NUM_PAUSES - 1)
