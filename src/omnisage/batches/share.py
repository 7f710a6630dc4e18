"""Which part of every step a process takes, where several train together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Part `rank` of `num_ranks` parts of equal size, give or take one."""

    rank: int = 0
    num_ranks: int = 1

    def of(self, num: int) -> slice:
        """The consecutive ones of `num` things that are this part; the parts of all ranks make up the whole."""
        return slice(num * self.rank // self.num_ranks, num * (self.rank + 1) // self.num_ranks)


WHOLE = Share()
