"""Looks for what must not be in training, in the finished artifact: the checks that builders have no part in.

The `evaluation` stage calls it, and fails the run if anything is found.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from omnisage.tables.artifact import CategoryArrays, NumberArrays, SequencePart, Tables, TablesPairs, TablesRelation

_EDGES_PER_BLOCK = 1 << 22  # bounds the memory that a check of a large relation takes


def find_leaks(tables: Tables) -> list[str]:
    """Walk the artifact.

    Args:
        tables: the opened artifact.

    Returns:
        One sentence for each leak: training events at or after `train_end`; users of one part in another, or, where
        one is left out, users whose training events are not those before what they are asked for; impressions
        at or after `train_end`, or of users who are not trained on; pairs of a log that no training user made, and
        edges made of a log that are not in it; evaluation queries before the window or in the gap; and held-out pairs
        that stand in a relation or pair log, in either direction; and cold entities wherever training or validation
        may read. Empty if there is none.
    """
    return [
        *_in_sequences(tables),
        *_in_impressions(tables),
        *_in_logs(tables),
        *_in_pairs(tables),
        *_of_cold_entities(tables),
    ]


def _in_sequences(tables: Tables) -> Iterator[str]:
    for name, sequence in tables.sequences.items():
        parts = {part: sequence.part(part) for part in ("train", "validation", "test")}
        if tables.leaves_one_out:
            for part in ("validation", "test"):
                num_users = _count_not_before_query(parts["train"], parts[part])
                if num_users:
                    yield f"sequences.{name}: {num_users} users train on other events than those before a {part} query"
            continue
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = np.intersect1d(parts[one].users, parts[other].users)
            if len(shared):
                yield f"sequences.{name}: {len(shared)} users are both in '{one}' and in '{other}'"
        if tables.train_end is not None:
            for part in ("train", "validation"):
                late = int(np.count_nonzero(parts[part].times >= tables.train_end))
                if late:
                    yield f"sequences.{name}: {late} events in '{part}' are at or after train_end ({tables.train_end})"
            yield from _queries_outside_window(tables, name, parts["test"])


def _count_not_before_query(train: SequencePart, asked: SequencePart) -> int:
    """How many users of a left-out part have training events that are not among the first ones known to their query."""
    assert asked.queries is not None, "open_tables gives held-out parts their queries"
    rows, known = asked.queries.astype(np.int64).T
    begins, lengths = asked.indptr[rows].astype(np.int64), np.diff(train.indptr.astype(np.int64))
    places = np.minimum(np.searchsorted(train.users, asked.users[rows]), len(train.users) - 1)
    trains = train.users[places] == asked.users[rows]
    num_trained = np.where(trains, lengths[places], 0)
    is_wrong = num_trained > known
    compared = np.minimum(num_trained, known)
    owners = np.repeat(np.arange(len(rows)), compared)
    steps = np.arange(len(owners)) - np.repeat(np.cumsum(compared) - compared, compared)
    of_train = train.entities[train.indptr[places[owners]].astype(np.int64) + steps]
    is_wrong[owners[of_train != asked.entities[begins[owners] + steps]]] = True
    return int(is_wrong.sum())


def _in_impressions(tables: Tables) -> Iterator[str]:
    for name, sequence in tables.sequences.items():
        shown = sequence.impressions
        if shown is None:
            continue
        foreign = int(np.count_nonzero(~np.isin(shown.users, sequence.part("train").users)))
        if foreign:
            yield f"sequences.{name}: {foreign} impressions are of users who are not in 'train'"
        late = 0 if tables.train_end is None else int(np.count_nonzero(shown.times >= tables.train_end))
        if late:
            yield f"sequences.{name}: {late} impressions are at or after train_end ({tables.train_end})"


def _queries_outside_window(tables: Tables, name: str, test: SequencePart) -> Iterator[str]:
    assert tables.train_end is not None, "without a cut in time there is no window"
    assert tables.window_end is not None, "without a cut in time there is no window"
    assert test.queries is not None, "open_tables gives the test part its queries"
    begin = tables.train_end + int(tables.manifest.plan.config["split"]["gap_s"])
    rows, known = test.queries.astype(np.int64).T
    times = test.times[test.indptr[rows].astype(np.int64) + known]
    outside = int(np.count_nonzero((times < begin) | (times >= tables.window_end)))
    if outside:
        yield f"sequences.{name}: {outside} test queries ask for events outside [{begin}, {tables.window_end})"


def _in_logs(tables: Tables) -> Iterator[str]:
    """A log made of a sequence may hold only what training users did one after the other."""
    for name, log in tables.pairs.items():
        sequence = tables.manifest.plan.config["pairs"][name]["from_sequence"]
        if sequence is None:
            continue
        steps = _steps(tables.sequences[sequence].part("train"))
        foreign = len(log.source_ids) - _count_among(log.source_ids, log.target_ids, steps)
        if foreign:
            yield f"pairs.{name}: {foreign} pairs are no consecutive events of a training user"
    for name, relation in tables.relations.items():
        made_of = tables.manifest.plan.config["relations"][name]["pairs"]
        if made_of is None:
            continue
        log = tables.pairs[made_of]
        pairs = _distinct(
            np.concatenate([_keys(log.source_ids, log.target_ids), _keys(log.target_ids, log.source_ids)])
        )
        foreign = len(relation.source_ids) - _count_among(relation.source_ids, relation.target_ids, pairs)
        if foreign:
            yield f"relations.{name}: {foreign} edges are no pairs of {made_of}"


def _steps(part: SequencePart) -> NDArray[np.uint64]:
    keys = _keys(part.entities[:-1], part.entities[1:])
    first_of_user = np.zeros(len(part.entities) + 1, np.bool_)
    first_of_user[part.indptr.astype(np.int64)] = True
    return _distinct(keys[~first_of_user[1 : len(keys) + 1]])


def _in_pairs(tables: Tables) -> Iterator[str]:
    trained_on = {
        **{f"relations.{name}": relation for name, relation in tables.relations.items()},
        **{f"pairs.{name}": log for name, log in tables.pairs.items()},
    }
    for part in ("validation", "test"):
        for types, pairs in tables.held_out_pairs(part).items():
            for name, edges in trained_on.items():
                leaked = _count(edges, types, pairs)
                if leaked:
                    yield f"{name}: {leaked} edges are {part} pairs of {types[0]} and {types[1]}"


def _of_cold_entities(tables: Tables) -> Iterator[str]:
    """Cold entities in events, edges and pairs, and what of their content training would know."""

    def found(where: str, noun: str, entity_type: str, ids: NDArray[np.uint32]) -> Iterator[str]:
        num = sum(
            int(np.count_nonzero(tables.cold.contains(entity_type, ids[begin : begin + _EDGES_PER_BLOCK])))
            for begin in range(0, len(ids), _EDGES_PER_BLOCK)
        )
        if num:
            yield f"{where}: {num} {noun} are of cold entities of type {entity_type}"

    for name, sequence in tables.sequences.items():
        for part in ("train", "validation", "test", "all"):
            yield from found(f"sequences.{name}", f"events in '{part}'", sequence.entity, sequence.part(part).entities)
        if sequence.impressions is not None:
            yield from found(f"sequences.{name}", "impressions", sequence.entity, sequence.impressions.entities)
    for section, edges_by_name in (("relations", tables.relations), ("pairs", tables.pairs)):
        for name, edges in edges_by_name.items():
            for kind, ids in ((edges.source, edges.source_ids), (edges.target, edges.target_ids)):
                yield from found(f"{section}.{name}", "ends", kind, ids)
    for part in ("validation", "test"):
        for types, pairs in tables.held_out_pairs(part).items():
            for kind, ids in zip(types, pairs.T, strict=True):
                yield from found("evaluation", f"ends of {part} pairs", kind, ids)
    yield from _in_normalisers(tables)


def _in_normalisers(tables: Tables) -> Iterator[str]:
    """Values of a category that only cold entities have; numbers that the others do not have mean 0 and deviation 1."""
    for kind, cold_ids in tables.cold.entities.items():
        is_warm = np.ones(tables.num_entities[kind], np.bool_)
        is_warm[cold_ids] = False
        for name, feature in tables.features[kind].items():
            where = f"entities.{kind}.features.{name}"
            if isinstance(feature, CategoryArrays):
                of_warm = feature.indices[np.repeat(is_warm, np.diff(feature.indptr).astype(np.int64))]
                unknown = feature.num_values - len(np.unique(of_warm))
                if unknown:
                    yield f"{where}: {unknown} values are of no entity but cold ones"
            elif isinstance(feature, NumberArrays):
                known = feature.values[is_warm & feature.present].astype(np.float64)
                off = len(known) and (abs(known.mean()) > 1e-3 or (np.ptp(known) > 0 and abs(known.std() - 1) > 1e-3))
                if off:
                    yield f"{where}: mean and deviation are not those of the entities that are not cold"


def _count(edges: TablesRelation | TablesPairs, types: tuple[str, str], pairs: NDArray[np.uint32]) -> int:
    """How many edges are among the pairs, in either direction."""
    directions: list[tuple[NDArray[np.uint32], NDArray[np.uint32]]] = []
    if (edges.source, edges.target) == types:
        directions.append((edges.source_ids, edges.target_ids))
    if (edges.target, edges.source) == types:
        directions.append((edges.target_ids, edges.source_ids))
    held_out = _distinct(_keys(pairs[:, 0], pairs[:, 1]))
    return sum(_count_among(first, second, held_out) for first, second in directions)


def _count_among(first: NDArray[np.uint32], second: NDArray[np.uint32], wanted: NDArray[np.uint64]) -> int:
    """How many pairs have a key among the sorted, distinct ones."""
    found = 0
    for begin in range(0, len(first), _EDGES_PER_BLOCK):
        block = slice(begin, begin + _EDGES_PER_BLOCK)
        keys = np.sort(_keys(first[block], second[block]))
        found += int(np.sum(np.searchsorted(keys, wanted, "right") - np.searchsorted(keys, wanted, "left")))
    return found


def _distinct(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted and distinct; np.unique hashes, with which all checks of 5M events took 6.8 s instead of 1.5 s."""
    keys = np.sort(keys)
    is_new = np.ones(len(keys), np.bool_)
    is_new[1:] = keys[1:] != keys[:-1]
    return keys[is_new]


def _keys(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
