"""Random walks with restart from many sources at once (PinSage, KDD 2018, §3.1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError

NO_TYPE = np.uint8(255)  # the type after the end of a walk
MAX_STEPS = 1 << 24  # per source: visits are counted in float32 where they are ranked


@dataclass(frozen=True)
class RandomWalks:
    """Where each of W walks from each of S sources is after 0 .. L steps."""

    entity_types: tuple[str, ...]  # those that `types` numbers
    types: NDArray[np.uint8]  # [S, W, L + 1] place in entity_types, NO_TYPE after the end of a walk
    ids: NDArray[np.uint32]  # [S, W, L + 1] dense ids, NO_NEIGHBOR after the end of a walk


def check_walks(num_walks: int, walk_length: int) -> None:
    """Refuse numbers of walks and steps that make no sense.

    Raises:
        OmnisageError: below 1, or more steps per source than can be counted.
    """
    for name, value in (("num_walks", num_walks), ("walk_length", walk_length)):
        if value < 1:
            raise OmnisageError(f"{name} is {value}; it must be >= 1")
    if num_walks * walk_length > MAX_STEPS:
        raise OmnisageError(
            f"num_walks * walk_length is {num_walks * walk_length}; it may be {MAX_STEPS} at most; take fewer walks"
        )
