"""Against whom a positive is ranked: all candidates, or a few drawn ones beside it (OmniSage §4).

Those drawn are uniform, or in proportion to popularity in training, so that being popular no longer helps (BERT4Rec
§4.2). In all regimes what the query may not find (its history, its training partners) is no candidate, and candidates
with exactly the positive's score count half, so that constant scores earn nothing.
"""

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.scorer import Scorer, Scores
from omnisage.evaluation.metrics import Ranks
from omnisage.randomness import generator

REGIMES = ("full", "random", "popularity")

_ROWS_PER_BLOCK = 512
_UNSEEN_WEIGHT = 1e-30  # of an entity without popularity: drawn only where there is no other left


def full_corpus_ranks(scores: Scores, positives: Lists, excluded: Lists) -> Ranks:
    """Rank every positive among all candidates, the query's other positives included.

    Args:
        scores: [B, N] float32, finite; overwritten.
        positives: ids per query, none of them excluded.
        excluded: ids per query that are no candidates.

    Returns:
        [P] float64, the positives' ranks, query by query.
    """
    values = scores[positives.row_of_id(), positives.ids]
    scores[excluded.row_of_id(), excluded.ids] = -np.inf  # below every positive
    if (positives.lengths() == 1).all():  # counting takes a tenth of the time of sorting
        larger, not_smaller = (
            is_above(scores, values[:, None]).sum(axis=1) for is_above in (np.greater, np.greater_equal)
        )
        return 1.0 + larger + 0.5 * (not_smaller - larger - 1)
    scores.sort(axis=1)
    ranks = np.empty(len(values))
    for row, sorted_scores in enumerate(scores):
        begin, end = positives.indptr[row], positives.indptr[row + 1]
        ranks[begin:end] = _ranks_among(sorted_scores, values[begin:end], num_own=1)
    return ranks


def ranks_in_blocks(scorer: Scorer, positives: Lists, excluded: Lists) -> Ranks:
    """`full_corpus_ranks` of all queries, within bounded memory.

    Args:
        scorer: scores of Q queries.
        positives: ids of Q queries, none of them excluded.
        excluded: ids per query that are no candidates.
    """
    ends = [*range(_ROWS_PER_BLOCK, len(positives), _ROWS_PER_BLOCK), len(positives)]
    blocks = zip([0, *ends[:-1]], ends, strict=True)
    ranks = [full_corpus_ranks(scorer(b, e), positives.block(b, e), excluded.block(b, e)) for b, e in blocks]
    return np.concatenate(ranks)


def random_candidates(
    positives: Lists, excluded: Lists, *, num_entities: int, num_random: int, seed: tuple[int, str, int]
) -> list[Ids]:
    """Draw other candidates for every query: distinct, uniform, neither positive nor excluded.

    Args:
        positives: ids per query.
        excluded: ids per query that are no candidates.
        num_entities: N.
        num_random: how many to draw; all there are, where there are fewer.
        seed: the run's seed, the task, and the number of the first query: the draw of a query depends on
            nothing else.

    Returns:
        Per query, its candidates.
    """
    run_seed, task, first_query = seed
    drawn: list[Ids] = []
    for row in range(len(positives)):
        refused = np.union1d(positives[row], excluded[row])
        num_drawn = min(num_entities, num_random + len(refused))
        order = generator(run_seed, "candidates", task, first_query + row).choice(
            num_entities, num_drawn, replace=False
        )
        drawn.append(order[~np.isin(order, refused)][:num_random].astype(np.uint32))
    return drawn


def popular_candidates(
    positives: Lists, excluded: Lists, *, popularity: NDArray[np.float32], num_drawn: int, seed: tuple[int, str, int]
) -> list[Ids]:
    """Draw other candidates for every query in proportion to popularity: distinct, neither positive nor excluded.

    One after the other, each with probability popularity / sum of the popularity of those not yet drawn; done at once
    as the smallest Exp(1) / popularity (Efraimidis and Spirakis, 2006). Entities without popularity come after all
    others, in random order.

    Args:
        positives: ids per query.
        excluded: ids per query that are no candidates.
        popularity: [N] float32, >= 0: uses in training.
        num_drawn: how many; all there are, where there are fewer.
        seed: as in `random_candidates`.

    Returns:
        Per query, its candidates.
    """
    run_seed, task, first_query = seed
    weights = np.maximum(popularity.astype(np.float64), _UNSEEN_WEIGHT)
    drawn: list[Ids] = []
    for row in range(len(positives)):
        times = generator(run_seed, "popular candidates", task, first_query + row).standard_exponential(len(weights))
        times /= weights
        refused = np.union1d(positives[row], excluded[row])
        times[refused] = np.inf
        num = min(num_drawn, len(weights) - len(refused))
        earliest = np.argpartition(times, num - 1)[:num] if num else np.zeros(0, np.int64)
        drawn.append(earliest.astype(np.uint32))
    return drawn


def drawn_candidate_ranks(scores: Scores, positives: Lists, candidates: list[Ids]) -> Ranks:
    """Rank every positive, alone, among the candidates that were drawn for its query.

    Args:
        scores: [B, N] float32, finite.
        positives: ids per query.
        candidates: of `random_candidates` or `popular_candidates`.

    Returns:
        [P] float64, the positives' ranks, query by query.
    """
    ranks = np.empty(len(positives.ids))
    for row, others in enumerate(candidates):
        begin, end = positives.indptr[row], positives.indptr[row + 1]
        values = scores[row, positives[row]]
        ranks[begin:end] = _ranks_among(np.sort(scores[row, others]), values, num_own=0)
    return ranks


def _ranks_among(sorted_scores: Scores, values: Scores, *, num_own: int) -> Ranks:
    """1 + the number of larger scores + half the number of equal ones, `num_own` of which are the value's own."""
    larger = len(sorted_scores) - np.searchsorted(sorted_scores, values, side="right")
    equal = len(sorted_scores) - larger - np.searchsorted(sorted_scores, values, side="left") - num_own
    return 1.0 + larger + 0.5 * equal
