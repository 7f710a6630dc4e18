"""Pairs of entities kept from training, to be found again in the evaluation.

A pair is unordered and stands for all relations between its two types: it is held out of every one, and of every pair
log. Pairs of undated relations are drawn by hash, and so are validation pairs of what dated ones have before
`train_end`. Pairs that a dated relation has in the window are test pairs if they are new, that is if no training
relation and no pair log has them: so nothing that happens after `train_end` can change what is trained on. The same
holds for what held-out users did, where a pair log asks for it.
"""

from functools import reduce
from pathlib import Path

import ibis
import numpy as np

from omnisage.tables.arrays import write_array
from omnisage.tables.config import Split
from omnisage.tables.connection import Connection
from omnisage.tables.edges import Edges
from omnisage.tables.entities import EntityTable
from omnisage.tables.expressions import Table
from omnisage.tables.hashing import pair_part

HeldOut = dict[tuple[str, str], Table]  # both types in alphabetical order -> first, second, part


def draw_pairs(
    connection: Connection, relations: list[Edges], entities: dict[str, EntityTable], *, split: Split, seed: int
) -> HeldOut:
    """Draw held-out pairs among those of undated relations, and validation pairs among those of dated ones.

    Args:
        connection: the database.
        relations: all relations that are read from tables.
        entities: for the external ids, of which the hash is taken.
        split: shares of test and validation pairs.
        seed: the run's seed.
    """
    undated = distinct_pairs([edges for edges in relations if not _is_dated(edges, split)])
    dated = distinct_pairs([edges.before(split.train_end) for edges in relations if _is_dated(edges, split)])
    held_out: HeldOut = {}
    for types in sorted(undated | dated):
        found: list[Table] = []
        for pairs, parts in ((undated, ("validation", "test")), (dated, ("validation",))):
            if types in pairs:
                drawn = _with_part(pairs[types], types, entities, split=split, seed=seed)
                found.append(drawn.filter(drawn["part"].isin(parts)))
        drawn = reduce(lambda one, other: one.union(other), found).distinct()
        held_out[types] = connection.keep(f"drawn {'-'.join(types)}", drawn)
    return held_out


def _with_part(
    pairs: Table, types: tuple[str, str], entities: dict[str, EntityTable], *, split: Split, seed: int
) -> Table:
    ids = [entities[kind].ids for kind in types]
    named = pairs.inner_join(ids[0].select(first="entity", first_id="id"), "first")
    named = named.inner_join(ids[1].select(second="entity", second_id="id"), "second")
    return named.select("first", "second", part=pair_part(seed, named["first_id"], named["second_id"], types, split))


def add_new_pairs(
    drawn: HeldOut, relations: list[Edges], of_users: dict[str, list[Edges]], training: list[Edges], split: Split
) -> HeldOut:
    """Add what no training relation or pair log has: what dated relations have in the window, and what users did.

    Args:
        drawn: what `draw_pairs` gave.
        relations: all relations that are read from tables.
        of_users: by part, pairs of events of its users.
        training: training relations and pair logs.
        split: where the window is.
    """
    known, held_out = distinct_pairs(training), dict(drawn)
    in_window = [_in_window(edges, split) for edges in relations if _is_dated(edges, split)]
    for part, added in (
        ("validation", of_users.get("validation", [])),
        ("test", [*in_window, *of_users.get("test", [])]),
    ):
        for types, pairs in distinct_pairs(added).items():
            for others in (known, held_out):
                if types in others:
                    pairs = pairs.anti_join(others[types], ["first", "second"])
            new = pairs.select("first", "second", part=ibis.literal(part))
            held_out[types] = held_out[types].union(new) if types in held_out else new
    return held_out


def write_held_out(connection: Connection, held_out: HeldOut, folder: Path) -> dict[str, dict[str, int]]:
    """Write `<folder>/<part>/<first type>-<second type>.npy`, sorted.

    Returns:
        The number of pairs, by part and types.
    """
    counts: dict[str, dict[str, int]] = {"validation": {}, "test": {}}
    for part, counts_of_part in counts.items():
        for types, pairs in sorted(held_out.items()):
            chosen = pairs.filter(pairs["part"] == part).select("first", "second").order_by("first", "second")
            table = connection.to_arrow(chosen)
            name = "-".join(types)
            columns = [table[column].to_numpy() for column in ("first", "second")]
            write_array(folder / part / f"{name}.npy", np.column_stack(columns).astype(np.uint32))
            counts_of_part[name] = table.num_rows
    return counts


def _is_dated(edges: Edges, split: Split) -> bool:
    """Without a cut in time, a relation's times decide nothing."""
    return edges.has("time") and split.train_end is not None


def _in_window(edges: Edges, split: Split) -> Edges:
    time = edges.rows["time"]
    in_window = edges.rows.filter((time >= split.window_begin) & (time < split.window_end))
    return Edges(edges.name, edges.source, edges.target, in_window)


def distinct_pairs(relations: list[Edges]) -> HeldOut:
    """The distinct unordered pairs of different entities, by types."""
    pairs: dict[tuple[str, str], list[Table]] = {}
    for edges in relations:
        pairs.setdefault(edges.types, []).append(edges.without_loops().unordered().select("first", "second"))
    # Not `union(distinct=True)`, which leaves a single table as it is.
    return {types: reduce(lambda one, other: one.union(other), found).distinct() for types, found in pairs.items()}
