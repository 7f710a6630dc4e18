"""Seeded draws as Ibis expressions: the same on every engine, for every row order and number of threads.

A draw is the first 16 hexadecimal digits (64 bits) of the SHA-256 of `seed|purpose|key|key...` in UTF-8, as text.
Lower-case hexadecimal digits sort like the numbers they write, so a draw is compared and sorted as it is. An
integer key is written in decimal. SHA-256 is standard; an engine's own `hash()` differs between engines and
versions.
"""

from collections.abc import Sequence
from functools import reduce

import ibis

from omnisage.tables.config import Split
from omnisage.tables.expressions import Column

_DIGITS = 16
_SEPARATOR = "|"


def draw(seed: int, purpose: Sequence[str], *keys: Column) -> Column:
    """A uniform 64-bit draw for each row.

    Args:
        seed: the run's seed.
        purpose: what the draw is for, so that draws for other purposes are independent.
        keys: string or integer columns; rows with equal keys draw the same.

    Returns:
        16 hexadecimal digits.
    """
    prefix: Column = ibis.literal(_SEPARATOR.join([str(seed), *purpose]))
    text: Column = reduce(lambda joined, key: joined + _SEPARATOR + key.cast("string"), keys, prefix)
    return text.hexdigest("sha256").substr(0, _DIGITS)


def is_below(drawn: Column, share: float) -> Column:
    """Is the draw among the lowest `share` (in [0, 1)) of all possible draws?"""
    return drawn < ibis.literal(f"{int(share * 2**64):016x}")


def held_out_part(drawn: Column, *, test: float, validation: float) -> Column:
    """`test` for the lowest draws, `validation` for the next ones, else `train`."""
    return ibis.cases(
        (is_below(drawn, test), "test"), (is_below(drawn, test + validation), "validation"), else_="train"
    )


def user_part(seed: int, user: Column, split: Split) -> Column:
    """The part a user belongs to by hash. Independent of the sequence: users of all sequences are drawn alike."""
    return held_out_part(draw(seed, ["user"], user), test=split.test_users, validation=split.validation_users)


def pair_draw(seed: int, purpose: str, first: Column, second: Column, types: tuple[str, str]) -> Column:
    """A draw for each unordered pair of (type, external id)."""
    ends = [
        ibis.literal(kind + _SEPARATOR) + end.cast("string") for kind, end in zip(types, (first, second), strict=True)
    ]
    return draw(seed, [purpose], ibis.least(*ends), ibis.greatest(*ends))


def pair_part(seed: int, first: Column, second: Column, types: tuple[str, str], split: Split) -> Column:
    """The part a pair of entities belongs to by hash of the unordered pair of (type, external id)."""
    drawn = pair_draw(seed, "pair", first, second, types)
    return held_out_part(drawn, test=split.test_pairs, validation=split.validation_pairs)
