"""The user-entity task: what does a held-out user do next, and what in the weeks after (OmniSage §3.3.3)?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.item_knn import ItemKnnSettings, item_knn_for_users, item_similarity
from omnisage.baselines.lists import Ids, Lists
from omnisage.baselines.popularity import event_counts, popularity
from omnisage.baselines.scorer import Scorer, deferred, inner_product
from omnisage.embeddings.artifact import Embeddings, Vectors
from omnisage.errors import OmnisageError
from omnisage.evaluation.retrieval import MODEL, Retrieval, answerable, own_ids
from omnisage.tables.artifact import SequencePart, Tables


@dataclass(frozen=True)
class UserQueries:
    """The evaluation queries of one part of a sequence."""

    users: NDArray[np.int64]  # [Q], row of the part
    histories: Lists  # the known events, oldest first
    masked: Lists  # what of the history is no candidate, where histories are masked
    following: Lists  # the next event, one per query
    future: Lists  # distinct entities of the window after the last known event, without those of the history

    def wanted(self, task: str) -> Lists:
        """The positives of `user_entity_next` or `user_entity_future`."""
        return {"user_entity_next": self.following, "user_entity_future": self.future}[task]


USER_TASKS = ("user_entity_next", "user_entity_future")


def user_tasks(tables: Tables) -> tuple[str, ...]:
    """What users are asked: where one event is left out it is the next, and there is no more of a future."""
    return USER_TASKS[:1] if tables.leaves_one_out else USER_TASKS


def tuned_key(task: str, sequence: str) -> str:
    """What the settings of the tuned item-kNN are filed under."""
    return f"{task}: {sequence}"


def user_queries(tables: Tables, sequence: str, part: str) -> UserQueries:
    """Read the queries of `validation` or `test`.

    Where one event is left out it is a candidate even if the user has had it before, as in published tables; elsewhere
    such a query has no answer.

    Args:
        tables: the `tables` artifact.
        sequence: the sequence's name.
        part: `validation` or `test`.
    """
    events = tables.sequences[sequence].part(part)
    if events.queries is None:
        raise OmnisageError(f"part '{part}' of sequence '{sequence}' has no queries; give 'validation' or 'test'")
    future_s = int(tables.manifest.plan.config["split"]["future_s"])
    users = events.queries[:, 0].astype(np.int64)
    histories: list[Ids] = []
    following: list[Ids] = []
    future: list[Ids] = []
    for user, num_known in events.queries.astype(np.int64):
        begin = int(events.indptr[user])
        known = begin + int(num_known)
        histories.append(events.entities[begin:known])
        following.append(events.entities[known : known + 1])
        end = _end_of_future(events, user, known, future_s=future_s, window_end=tables.window_end)
        future.append(np.setdiff1d(events.entities[known:end], histories[-1]))
    masked = histories
    if tables.leaves_one_out:
        masked = [history[history != asked] for history, asked in zip(histories, following, strict=True)]
    return UserQueries(users, Lists.of(histories), Lists.of(masked), Lists.of(following), Lists.of(future))


def _end_of_future(events: SequencePart, user: int, known: int, *, future_s: int, window_end: int | None) -> int:
    end = int(events.indptr[user + 1])
    times = events.times[known:end]
    num_future = int(np.searchsorted(times, events.times[known - 1] + future_s, side="right"))
    if window_end is not None:
        num_future = min(num_future, int(np.searchsorted(times, window_end, side="left")))
    return known + num_future


def user_retrievals(
    tables: Tables,
    embeddings: Embeddings,
    part: str,
    *,
    mask_history: bool,
    tuned: Mapping[str, ItemKnnSettings],
    learned: Mapping[str, Embeddings],
) -> list[Retrieval]:
    """The next and the future action of the held-out users of every sequence that has embeddings of users.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact.
        part: `validation` or `test`.
        mask_history: whether entities of the history are no candidates.
        tuned: settings of the tuned item-kNN, by `tuned_key`; without them there is none.
        learned: of baselines, by method.
    """
    retrievals: list[Retrieval] = []
    for name in embeddings.users:
        sequence = tables.sequences[name]
        queries = user_queries(tables, name, part)
        vectors = embeddings.queries(name, part)
        _refuse_other_queries(vectors, queries, name, part)
        num_entities = tables.num_entities[sequence.entity]
        train, users = train_lists(sequence.part("train")), sequence.part(part).users
        counts = event_counts(tables, name)
        excluded = queries.masked if mask_history else Lists.empty(len(queries.users))
        for task in user_tasks(tables):
            wanted = queries.wanted(task)
            kept = answerable(wanted, excluded)
            histories = queries.histories.take(kept)
            scorers: dict[str, Scorer] = {
                MODEL: inner_product(vectors[kept], embeddings.entities[sequence.entity]),
                "popularity": popularity(counts),
            }
            plain_and_tuned = {"item_knn": ItemKnnSettings(), "item_knn_tuned": tuned.get(tuned_key(task, name))}
            for method, settings in plain_and_tuned.items():
                if settings is not None:
                    scorers[method] = deferred(partial(_item_knn, train, num_entities, histories, settings))
            scorers |= {
                method: inner_product(of.queries(name, part)[kept], of.entities[sequence.entity])
                for method, of in learned.items()
                if name in of.users and sequence.entity in of.entities
            }
            retrievals.append(
                Retrieval(
                    task,
                    f"{name} -> {sequence.entity}",
                    sequence.entity,
                    counts,
                    positives=wanted.take(kept),
                    excluded=excluded.take(kept),
                    units=own_ids(tables.user_ids(name), users[queries.users[kept]]),
                    num_dropped=len(queries.users) - len(kept),
                    scorers=scorers,
                )
            )
    return retrievals


def _item_knn(train: Lists, num_entities: int, histories: Lists, settings: ItemKnnSettings) -> Scorer:
    return item_knn_for_users(item_similarity(train, num_entities, settings), histories, settings)


def _refuse_other_queries(vectors: Vectors, queries: UserQueries, name: str, part: str) -> None:
    if len(vectors) != len(queries.users):
        raise OmnisageError(
            f"embeddings hold {len(vectors)} vectors for the {len(queries.users)} {part} queries of "
            f"sequence '{name}'; run `omnisage embeddings` again"
        )


def train_lists(part: SequencePart) -> Lists:
    """The events of each user of a part."""
    return Lists(part.indptr.astype(np.int64), part.entities)
