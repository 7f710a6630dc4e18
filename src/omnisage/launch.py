"""Which of the processes that `torchrun` has started this one is. Light: the command asks before it imports torch."""

import os
from dataclasses import dataclass

from omnisage.errors import OmnisageError


@dataclass(frozen=True)
class Launch:
    """One process of a training run on many devices."""

    rank: int = 0  # among all processes
    num_ranks: int = 1
    local_rank: int = 0  # among those of this machine
    num_local: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0


def read_launch() -> Launch:
    """What `torchrun` says in the environment; alone without it.

    Raises:
        OmnisageError: the environment is not that of `torchrun`.
    """
    if "RANK" not in os.environ:
        return Launch()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        return Launch(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise OmnisageError(
            f"the variables {', '.join(names)} do not describe a process of torchrun ({error!r}); start training by "
            "`torchrun --nproc-per-node N -m omnisage training CONFIG`, or unset RANK"
        ) from None
