"""Adamic-Adar: entities are close when they share neighbors, rare ones above all (Adamic and Adar, 2003).

Over the whole typed graph a common neighbor z counts 1 / log(degree z). The two sides of a bipartite relation
never share neighbors, so a second term goes one hop further, through other entities m' of the query's type:

    score(m, x) = AA(m, x) + sum over m' of AA(m, m') A(m', x)

where A is 1 if m' and x are linked in training.
"""

import numpy as np

from omnisage.baselines.links import Links
from omnisage.baselines.lists import Ids
from omnisage.baselines.scorer import Scorer, Scores
from omnisage.baselines.sparse import dense, scale_columns, to_rows, without_self


def adamic_adar(links: Links, query_type: str, candidate_type: str, queries: Ids) -> Scorer:
    """Score candidates of one type for entities of another (or the same).

    Args:
        links: the training relations.
        query_type: the type of the queries.
        candidate_type: the type of the candidates.
        queries: [Q] uint32, ids of the query entities.
    """
    degree = np.diff(links.matrix.indptr)
    # Degree 1 would divide by log 1 = 0; such an entity links nobody with anybody else.
    rarity = np.zeros(len(degree), np.float32)
    np.divide(1.0, np.log(np.maximum(degree, 2)), out=rarity, where=degree > 1)
    of_queries = scale_columns(links.of(query_type)[queries.astype(np.int64)], rarity)
    to_same_type = to_rows(links.of(query_type).T)
    to_candidates = to_rows(links.of(candidate_type).T)
    linked = links.between(query_type, candidate_type)

    def score(begin: int, end: int) -> Scores:
        block = of_queries[begin:end]
        similar = without_self(to_rows(block @ to_same_type), queries[begin:end])
        return dense(block @ to_candidates + similar @ linked)

    return score
