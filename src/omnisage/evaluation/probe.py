"""Downstream: does a ranking model gain from the embeddings as features (OmniSage §4, downstream ranking)?

A logistic regression tells what a user did next from candidates drawn by popularity, as what is shown is. Its base
features are popularity and both item-kNN scores; with embeddings it also has the inner product of user and entity and
the product of each dimension. A user without an embedding is the mean of the latest entities. It is fitted on
validation users and measured on test users, none of whom training had.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from omnisage.baselines.item_knn import ItemKnnSettings, item_knn_for_users, item_similarity
from omnisage.baselines.latest import choose_num_latest, mean_of_latest
from omnisage.baselines.popularity import event_counts, popularity
from omnisage.baselines.scorer import Scorer
from omnisage.embeddings.artifact import Embeddings, Vectors
from omnisage.evaluation.bootstrap import intervals
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.metrics import group_means
from omnisage.evaluation.records import Record
from omnisage.evaluation.regimes import popular_candidates
from omnisage.evaluation.retrieval import answerable, own_ids
from omnisage.evaluation.user_queries import train_lists, user_queries
from omnisage.tables.artifact import Tables

Values = NDArray[np.float64]

BASE, WITH_EMBEDDINGS = "base", "base + embeddings"
_METRICS = ("auc", "hits@3")
_L2 = 1.0
_ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Examples:
    """Q queries with C candidates each, of which the first is what the user did next."""

    base_QCF: Values
    model_QCF: Values  # the inner product and its terms
    users: NDArray[np.int64]  # [Q], row of the part

    def features(self, *, with_embeddings: bool) -> Values:
        """[Q, C, F] what the ranking model sees."""
        return np.concatenate([self.base_QCF, self.model_QCF], axis=2) if with_embeddings else self.base_QCF


@dataclass(frozen=True)
class Probe:
    """What downstream was measured at."""

    records: list[Record]
    unit_values: pa.Table  # by user, in AUC and hits@3: the same columns as those of retrieval otherwise


def probe(
    tables: Tables,
    embeddings: Embeddings,
    sequence: str,
    *,
    tuned: ItemKnnSettings,
    config: EvaluationConfig,
    seed: int,
) -> Probe | None:
    """Fit and measure the ranking model with and without embeddings; the paired difference is a record as well.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact.
        sequence: the sequence's name.
        tuned: settings of the tuned item-kNN for the next action.
        config: number of candidates and of bootstrap samples.
        seed: of the candidates and the bootstrap.

    Returns:
        AUC and hits@3 among a query's candidates; None where either part has no query to learn or measure from.
    """
    known, asked = (
        _examples(
            tables, embeddings, sequence, part, tuned=tuned, num_candidates=config.num_probe_candidates, seed=seed
        )
        for part in ("validation", "test")
    )
    if known is None or asked is None:
        return None
    of_queries = [_measured(known, asked, with_embeddings=chosen) for chosen in (False, True)]
    users, user_of_query = np.unique(asked.users, return_inverse=True)
    base, extended = (group_means(values, user_of_query, len(users)) for values in of_queries)
    name, own = f"{sequence} -> {tables.sequences[sequence].entity}", tables.sequences[sequence].part("test").users
    labels = {"task": "downstream", "name": name, "regime": "popularity"}
    units = own_ids(tables.user_ids(sequence), own[users])
    methods = {BASE: base, WITH_EMBEDDINGS: extended}
    unit_values = [_unit_table(labels | {"method": method}, units, of) for method, of in methods.items()]
    methods[f"{WITH_EMBEDDINGS} - {BASE}"] = extended - base
    values = np.concatenate(list(methods.values()), axis=1)
    low, high = intervals(values, num_samples=config.num_bootstrap, seed=seed, purpose=f"probe {sequence}")
    records = [
        Record(
            **labels,
            method=method,
            metric=metric,
            value=float(values[:, column].mean()),
            low=float(low[column]),
            high=float(high[column]),
            num_queries=len(asked.users),
            num_dropped=0,
            num_units=len(users),
        )
        for column, (method, metric) in enumerate((method, metric) for method in methods for metric in _METRICS)
    ]
    return Probe(records, pa.concat_tables(unit_values))


def _unit_table(labels: dict[str, str], units: NDArray[np.str_], values: Values) -> pa.Table:
    columns = {name: pa.repeat(pa.scalar(label), len(units)) for name, label in labels.items()}
    columns["unit"] = pa.array(units)
    return pa.table(columns | {metric: pa.array(values[:, column]) for column, metric in enumerate(_METRICS)})


def _examples(
    tables: Tables,
    embeddings: Embeddings,
    sequence: str,
    part: str,
    *,
    tuned: ItemKnnSettings,
    num_candidates: int,
    seed: int,
) -> Examples | None:
    """The queries of a part whose next event is new to the user; None if there are none, or no other candidates."""
    counts, queries = event_counts(tables, sequence), user_queries(tables, sequence, part)
    kept = answerable(queries.following, queries.histories)
    histories, following = queries.histories.take(kept), queries.following.take(kept)
    draw = (seed, f"probe {sequence} {part}", 0)
    drawn = popular_candidates(following, histories, popularity=counts, num_drawn=num_candidates, seed=draw)
    num_others = min(map(len, drawn), default=0)
    if num_others == 0:
        return None
    ids_QC = np.column_stack([following.ids, np.stack([others[:num_others] for others in drawn])])
    train = train_lists(tables.sequences[sequence].part("train"))
    scorers = [popularity(counts)]
    for settings in (ItemKnnSettings(), tuned):
        scorers.append(item_knn_for_users(item_similarity(train, len(counts), settings), histories, settings))
    base_QCF = np.stack([np.log1p(_scores(scorer, ids_QC)) for scorer in scorers], axis=2)
    users_QD = _users(tables, embeddings, sequence, part)[kept].astype(np.float64)
    terms_QCD = users_QD[:, None, :] * embeddings.entities[tables.sequences[sequence].entity][ids_QC]
    model_QCF = np.concatenate([terms_QCD.sum(axis=2, keepdims=True), terms_QCD], axis=2)
    return Examples(base_QCF, model_QCF, queries.users[kept])


def _users(tables: Tables, embeddings: Embeddings, sequence: str, part: str) -> Vectors:
    """[Q, D] users of all queries: the embeddings' own, else the mean of their latest entities, as baselines have."""
    if sequence in embeddings.users:
        return embeddings.queries(sequence, part)
    events, entities = tables.sequences[sequence].part(part), embeddings.entities[tables.sequences[sequence].entity]
    assert events.queries is not None  # `user_queries` has refused such a part
    num_latest = choose_num_latest(tables, sequence, entities)
    return mean_of_latest(entities, events, events.queries, num_latest=num_latest)


def _scores(scorer: Scorer, ids_QC: NDArray[np.uint32]) -> Values:
    blocks: list[Values] = []
    for begin in range(0, len(ids_QC), _ROWS_AT_A_TIME):
        ids = ids_QC[begin : begin + _ROWS_AT_A_TIME].astype(np.int64)
        blocks.append(np.take_along_axis(scorer(begin, begin + len(ids)), ids, axis=1).astype(np.float64))
    return np.concatenate(blocks)


def _measured(known: Examples, asked: Examples, *, with_embeddings: bool) -> Values:
    """AUC and hits@3 [Q, 2] of the queries asked, by a model fitted on the known ones."""
    features_QCF = known.features(with_embeddings=with_embeddings)
    rows = features_QCF.reshape(-1, features_QCF.shape[2])
    is_next = np.zeros(features_QCF.shape[:2])
    is_next[:, 0] = 1.0
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    deviation[deviation == 0] = 1.0
    weights = fit_logistic((rows - mean) / deviation, is_next.ravel())
    return ranking_metrics(((asked.features(with_embeddings=with_embeddings) - mean) / deviation) @ weights)


def fit_logistic(features_NF: Values, labels_N: Values) -> Values:
    """Logistic regression with an intercept and an L2 penalty of weight 1 on the sum of losses.

    Returns:
        [F] weights; the intercept, which ranks nothing, is left out.
    """

    def loss(parameters: Values) -> tuple[float, Values]:
        logits = features_NF @ parameters[1:] + parameters[0]
        errors = expit(logits) - labels_N
        value = np.logaddexp(0.0, logits).sum() - logits @ labels_N + 0.5 * _L2 * parameters[1:] @ parameters[1:]
        gradient = np.append(errors.sum(), features_NF.T @ errors + _L2 * parameters[1:])
        return float(value), gradient

    return minimize(loss, np.zeros(features_NF.shape[1] + 1), jac=True, method="L-BFGS-B").x[1:]


def ranking_metrics(scores_QC: Values) -> Values:
    """AUC and hits@3 of the first candidate of each query, equal scores counting half; [Q, 2]."""
    others, own = scores_QC[:, 1:], scores_QC[:, :1]
    above = (others > own).sum(axis=1) + 0.5 * (others == own).sum(axis=1)
    return np.stack([1.0 - above / others.shape[1], np.where(above <= 2, 1.0, 0.0)], axis=1)
