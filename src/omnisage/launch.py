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
        OmnisageError: the environment is not that of `torchrun`, or of one that could start its processes only once.
    """
    if "RANK" not in os.environ:
        return Launch()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        launch = Launch(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise OmnisageError(
            f"the variables {', '.join(names)} do not describe a process of torchrun ({error!r}); start training by "
            "`torchrun --nproc-per-node N -m omnisage training CONFIG`, or unset RANK"
        ) from None
    _refuse_shared_store(launch)
    return launch


def _refuse_shared_store(launch: Launch) -> None:
    """Processes that torchrun starts again meet in its store, and wait for those that have left their names there.

    A store that is made anew at each start is what the variable asks for (pytorch/pytorch issue 135712; so in torch
    2.13). That a host has come or gone is no restart by torchrun's count, so the first start is refused already.
    """
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    if launch.num_ranks > 1 and restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise OmnisageError(
            "with --max-restarts, processes that torchrun starts again would wait for the earlier ones for ever; set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment, on every host, and use --standalone or "
            "--rdzv-backend c10d"
        )
