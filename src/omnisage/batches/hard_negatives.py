"""Hard negatives: entities of middling proximity to the query, near enough to be mistaken for positives (PinSage §3.2).

Shapes: P pairs, M hard negatives of a pair.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.batches.extra_negatives import DrawnNegatives, draw_places
from omnisage.batches.positives import PairGroup
from omnisage.neighbors.artifact import Ranked
from omnisage.randomness import generator

Ids = NDArray[np.uint32]
_EMPTY = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class HardNegatives:
    """What they are drawn from, and what they may not be."""

    ranked: dict[str, Ranked]  # by the query's type
    partners: dict[tuple[str, str], NDArray[np.uint64]]  # by both types, rising: an entity and one it is paired with
    per_pair: int
    one_more_every: int | None  # steps; None: all from the start
    seed: int

    def num_drawn(self, step: int) -> int:
        """How many a pair gets in a step."""
        return self.per_pair if self.one_more_every is None else min(self.per_pair, step // self.one_more_every)


def known_partners(groups: list[list[PairGroup]]) -> dict[tuple[str, str], NDArray[np.uint64]]:
    """All training pairs of all folds in both directions, by types: keys of (query, partner), rising."""
    found: dict[tuple[str, str], list[NDArray[np.uint64]]] = {}
    for group in (group for of_fold in groups for group in of_fold):
        found.setdefault((group.source, group.target), []).append(_keys(group.source_ids, group.target_ids))
        found.setdefault((group.target, group.source), []).append(_keys(group.target_ids, group.source_ids))
    return {types: np.unique(np.concatenate(keys)) for types, keys in found.items()}


def draw_hard_negatives(
    hard: HardNegatives, pairs: list[tuple[str, str, Ids, Ids]], step: int
) -> list[DrawnNegatives] | None:
    """Draw the hard negatives of a step's pairs, among what is ranked for their queries.

    One that is a training partner of the query, the positive among them, is left out after the draw, so that it changes
    nothing for the others. A query without ranked entities of the target's type gets none.

    Returns:
        One for each of `pairs`; None while the step draws none.
    """
    num_drawn = hard.num_drawn(step)
    if num_drawn == 0:
        return None
    rng = generator(hard.seed, "hard negatives", step)
    return [_draw(hard, types, source_ids, num_drawn, rng) for *types, source_ids, _ in pairs]


def _draw(
    hard: HardNegatives, types: list[str], source_ids: Ids, num_drawn: int, rng: np.random.Generator
) -> DrawnNegatives:
    source, target = types
    pool_PW = hard.ranked[source].of(target, source_ids) if source in hard.ranked else _no_pool(len(source_ids))
    sizes_P = np.count_nonzero(pool_PW != _EMPTY, axis=1)
    places_PM, present_PM, log_q_P = draw_places(sizes_P, num_drawn, rng)
    if pool_PW.shape[1] == 0:
        return DrawnNegatives(places_PM.astype(np.uint32), present_PM, log_q_P)
    ids_PM = np.where(present_PM, np.take_along_axis(pool_PW, places_PM, axis=1), np.uint32(0))
    partners = hard.partners[source, target]
    keys_PM = _keys(source_ids[:, None], ids_PM)
    places = np.minimum(np.searchsorted(partners, keys_PM), len(partners) - 1)
    return DrawnNegatives(ids_PM, present_PM & (partners[places] != keys_PM), log_q_P)


def _no_pool(num_queries: int) -> Ids:
    return np.empty((num_queries, 0), np.uint32)


def _keys(queries: Ids, partners: Ids) -> NDArray[np.uint64]:
    return (queries.astype(np.uint64) << np.uint64(32)) | partners.astype(np.uint64)
