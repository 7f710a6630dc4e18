"""One thing to measure, for several methods: queries, their positives, what they may not find; and the measuring."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.scorer import Scorer, Scores
from omnisage.errors import OmnisageError
from omnisage.evaluation.beyond import BeyondRecord, Recommended, beyond_accuracy, recommend
from omnisage.evaluation.bootstrap import intervals
from omnisage.evaluation.categories import Categories
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.metrics import Ranks, group_means, metric_names, query_metrics
from omnisage.evaluation.records import Record, SliceRecord
from omnisage.evaluation.regimes import (
    REGIMES,
    drawn_candidate_ranks,
    full_corpus_ranks,
    popular_candidates,
    random_candidates,
)
from omnisage.evaluation.slices import ALL, Slice

_BLOCK_BYTES = 32 << 20  # scores held at a time

MODEL = "model"
MODEL_CONTENT = "model_content"  # the model, which knows cold entities by their content alone


@dataclass(frozen=True)
class Retrieval:
    """Q queries over the N entities of one type."""

    task: str
    name: str
    entity_type: str  # of the candidates
    popularity: NDArray[np.float32]  # [N], uses of the candidates in training
    positives: Lists  # per query, at least one, none of them excluded
    excluded: Lists  # per query
    units: NDArray[np.str_]  # [Q], the own id of the user or entity that asks
    num_dropped: int  # queries left out because no positive may be found
    scorers: dict[str, Scorer]  # method -> scores; MODEL among them

    @property
    def num_entities(self) -> int:
        """N."""
        return len(self.popularity)


def answerable(positives: Lists, excluded: Lists) -> NDArray[np.int64]:
    """The queries that have a positive, and none that is excluded."""
    excluded_rows = [row for row in range(len(positives)) if np.isin(positives[row], excluded[row]).any()]
    has_positive = positives.lengths() > 0
    has_positive[excluded_rows] = False
    return np.flatnonzero(has_positive)


def own_ids(ids: pa.Array, dense_ids: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.str_]:
    """The user's own ids of some dense ids, as text."""
    return np.array(ids.take(pa.array(dense_ids)).cast(pa.string()).to_pylist(), dtype=np.str_)


@dataclass(frozen=True)
class Measurement:
    """The numbers of one retrieval."""

    records: list[Record]
    differences: list[Record]  # model minus each other method, paired
    unit_values: pa.Table  # what the records of all positives are means of, see docs/formats.md
    slices: list[SliceRecord]  # that some of the positives are in
    beyond_accuracy: list[BeyondRecord]


def measure(
    retrieval: Retrieval,
    config: EvaluationConfig,
    *,
    slices: list[Slice],
    categories: Categories | None,
    seed: int,
    advance: Callable[[int], None],
    regimes: Collection[str] = REGIMES,
) -> Measurement:
    """Rank the positives by every method, in every regime; those of each slice in the full corpus.

    Args:
        retrieval: the queries.
        config: cuts, number of candidates to draw and of bootstrap samples.
        slices: of the candidates.
        categories: of the candidates, if they have some.
        seed: the run's seed.
        advance: called with the number of queries done since the last call.
        regimes: those that are measured; slices need the full corpus.
    """
    ranks, recommended = _rank(retrieval, config, seed=seed, advance=advance, regimes=regimes)
    records: list[Record] = []
    differences: list[Record] = []
    tables: list[pa.Table] = []
    units, unit_of_query = np.unique(retrieval.units, return_inverse=True)
    for regime in regimes:
        values = {m: _unit_values(retrieval, ranks[regime, m], regime, config.ks) for m in retrieval.scorers}
        tables += [_unit_table(retrieval, regime, m, units, of_units, config.ks) for m, of_units in values.items()]
        others = [method for method in values if method != MODEL]
        values |= {f"{MODEL} - {method}": values[MODEL] - values[method] for method in others}
        measured = _records(retrieval, regime, ALL, values, config=config, seed=seed)
        records += [record for record in measured if record.method in retrieval.scorers]
        differences += [record for record in measured if record.method not in retrieval.scorers]
    described: list[SliceRecord] = []
    for part in slices if "full" in regimes else ():
        is_in = part.members[retrieval.positives.ids]
        if is_in.any():
            inside = _only(retrieval, is_in)
            values = {m: _unit_values(inside, ranks["full", m][is_in], "full", config.ks) for m in retrieval.scorers}
            measured = _records(inside, "full", part.name, values, config=config, seed=seed)
            # Of the first cut alone: there are many slices, and metrics.json is to stay readable.
            records += [record for record in measured if record.metric.endswith(f"@{config.ks[0]}")]
            size = int(part.members.sum())
            described.append(SliceRecord(retrieval.task, retrieval.name, part.name, part.meaning, size))
    beyond: list[BeyondRecord] = []
    values_of_entities = None if categories is None else categories.values
    for method, ids in recommended.items():
        judged = Recommended(ids, retrieval.positives, unit_of_query, retrieval.popularity, values_of_entities)
        beyond += beyond_accuracy(
            judged, retrieval.task, retrieval.name, method, num_samples=config.num_bootstrap, seed=seed
        )
    return Measurement(records, differences, pa.concat_tables(tables), described, beyond)


def _only(retrieval: Retrieval, is_in: NDArray[np.bool_]) -> Retrieval:
    """The same with some of the positives [P], and the queries that have any of them."""
    positives = retrieval.positives
    lengths = np.bincount(positives.row_of_id()[is_in], minlength=len(positives))
    kept = np.flatnonzero(lengths)
    return replace(
        retrieval,
        positives=Lists(np.concatenate([[0], np.cumsum(lengths[kept])]), positives.ids[is_in]),
        excluded=retrieval.excluded.take(kept),
        units=retrieval.units[kept],
        num_dropped=0,
    )


def _rank(
    retrieval: Retrieval,
    config: EvaluationConfig,
    *,
    seed: int,
    advance: Callable[[int], None],
    regimes: Collection[str],
) -> tuple[dict[tuple[str, str], Ranks], dict[str, Ids]]:
    """The ranks of all positives by regime and method, and what each method recommends."""
    positives = retrieval.positives
    ranks = {(r, m): np.empty(len(positives.ids)) for r in regimes for m in retrieval.scorers}
    recommended = {m: np.empty((len(positives), config.ks[0]), np.uint32) for m in retrieval.scorers}
    num_rows = max(1, _BLOCK_BYTES // (4 * max(1, retrieval.num_entities)))
    for begin in range(0, len(positives), num_rows):
        end = min(begin + num_rows, len(positives))
        wanted, excluded = positives.block(begin, end), retrieval.excluded.block(begin, end)
        draw = (seed, f"{retrieval.task} {retrieval.name}", begin)
        candidates = {
            regime: _draw(regime, retrieval, wanted, excluded, config, draw) for regime in regimes if regime != "full"
        }
        where = slice(positives.indptr[begin], positives.indptr[end])
        for method, scorer in retrieval.scorers.items():
            scores = _finite(scorer(begin, end), method, retrieval)
            for regime, drawn in candidates.items():
                ranks[regime, method][where] = drawn_candidate_ranks(scores, wanted, drawn)
            recommended[method][begin:end] = recommend(scores, excluded, config.ks[0])
            if "full" in regimes:
                ranks["full", method][where] = full_corpus_ranks(scores, wanted, excluded)  # overwrites scores
        advance(end - begin)
    return ranks, recommended


def _draw(
    regime: str,
    retrieval: Retrieval,
    wanted: Lists,
    excluded: Lists,
    config: EvaluationConfig,
    seed: tuple[int, str, int],
) -> list[Ids]:
    """The candidates of each query in a regime that draws them."""
    if regime == "random":
        size = {"num_entities": retrieval.num_entities, "num_random": config.num_random_candidates}
        return random_candidates(wanted, excluded, **size, seed=seed)
    num_drawn = config.num_popular_candidates
    return popular_candidates(wanted, excluded, popularity=retrieval.popularity, num_drawn=num_drawn, seed=seed)


def _finite(scores: Scores, method: str, retrieval: Retrieval) -> Scores:
    if not np.isfinite(scores).all():
        raise OmnisageError(
            f"{retrieval.task} of {retrieval.name}: '{method}' gives scores that are not finite; train again "
            "with a lower training.learning_rate, then run `omnisage embeddings`"
        )
    return scores


def _unit_values(retrieval: Retrieval, ranks: Ranks, regime: str, ks: list[int]) -> NDArray[np.float64]:
    """The metrics of each unit, in the order of their ids: the mean over its queries."""
    units, unit_of_query = np.unique(retrieval.units, return_inverse=True)
    positives = retrieval.positives
    if regime == "full":
        values = query_metrics(ranks, positives.indptr, ks)
    else:  # Each positive stood alone among the candidates: a query of its own, averaged within the query.
        alone = query_metrics(ranks, np.arange(len(ranks) + 1), ks)
        values = group_means(alone, positives.row_of_id(), len(positives))
    return group_means(values, unit_of_query, len(units))


def _unit_table(
    retrieval: Retrieval, regime: str, method: str, units: NDArray[np.str_], values: NDArray[np.float64], ks: list[int]
) -> pa.Table:
    labels = {"task": retrieval.task, "name": retrieval.name, "regime": regime, "method": method}
    columns = {name: pa.repeat(pa.scalar(label), len(units)) for name, label in labels.items()}
    columns["unit"] = pa.array(units)
    return pa.table(columns | {metric: pa.array(values[:, i]) for i, metric in enumerate(metric_names(ks))})


def _records(
    retrieval: Retrieval,
    regime: str,
    slice_name: str,
    values: dict[str, NDArray[np.float64]],
    *,
    config: EvaluationConfig,
    seed: int,
) -> list[Record]:
    columns = [(method, metric) for method in values for metric in metric_names(config.ks)]
    of_units = np.concatenate(list(values.values()), axis=1)  # one set of draws for all: differences are paired
    purpose = f"{retrieval.task} {retrieval.name}"
    low, high = intervals(of_units, num_samples=config.num_bootstrap, seed=seed, purpose=purpose)
    return [
        Record(
            retrieval.task,
            retrieval.name,
            regime,
            method,
            metric,
            value=float(of_units[:, column].mean()),
            low=float(low[column]),
            high=float(high[column]),
            num_queries=len(retrieval.positives),
            num_dropped=retrieval.num_dropped,
            num_units=len(of_units),
            slice=slice_name,
        )
        for column, (method, metric) in enumerate(columns)
    ]
