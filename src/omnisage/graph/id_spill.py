"""Numbers for the ids that did not fit into memory: made distinct bucket by bucket, then sorted range by range.

What was given is dealt out by hash, so that equal ids meet in one bucket, and buckets are alike in size whatever the
ids are. The distinct ids of all buckets are dealt out once more, by range, the bounds taken from one bucket, which is a
fair sample: ranges one after the other are the order of all. Their numbers then go back the way the ids came.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.graph.id_files import IdWriter
from omnisage.graph.id_keys import NUM_BUCKETS, UNKNOWN, deal, from_native, native_keys, new_table, place, sorted_order
from omnisage.graph.id_shuffle import NumberReader, Shuffle

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Bucket:
    """The ids of one bucket, made distinct."""

    known: NDArray[np.uint32]  # the first ids were known, with these numbers
    places: NDArray[np.uint32]  # [n] of each id given: its place among the distinct ones
    new: pa.Array  # the distinct ones behind the known


def number_spilled(
    given: Shuffle, held: pa.Array, writer: IdWriter, *, what: str, num_threads: int
) -> NDArray[np.uint32]:
    """Write all new ids in order, and give everything in `given` its number.

    Args:
        given: ids in any order, with repetitions; the known ones first, with their numbers.
        held: distinct new ids that are not in `given`.
        writer: has the known ids.
        what: what to name in errors.

    Returns:
        The numbers of `held`.
    """
    given.flush()
    buckets = np.flatnonzero(given.sizes()).tolist()
    sample = [held.take(pa.array(np.flatnonzero(deal(held, num_threads) == buckets[0])))]
    sample.append(_make_distinct(buckets[0], given, what).new)
    bounds = _bounds(pa.concat_arrays(sample))
    distinct = given.beside("distinct", partial(place, bounds=bounds, num_threads=num_threads))
    distinct.append(held)
    num_held = len(held)
    del held, sample
    counts: list[tuple[int, int]] = []  # of each bucket: known and new ids
    for bucket, found in zip(
        buckets, _ahead(partial(_make_distinct, given=given, what=what), buckets, num_threads), strict=True
    ):
        counts.append((len(found.known), len(found.new)))
        distinct.append(found.new)
        given.set_numbers(bucket, np.concatenate([found.known, found.places[len(found.known) :]]))
    given.drop_keys()
    distinct.flush()
    _sort(distinct, writer, num_threads)
    distinct.drop_keys()
    numbers = NumberReader(distinct)
    of_held = numbers.take(num_held)
    for bucket, (num_known, num_new) in zip(buckets, counts, strict=True):
        places = given.numbers(bucket)
        known = places[:num_known]
        of_distinct = np.concatenate([known, numbers.take(num_new)])
        given.set_numbers(bucket, np.concatenate([known, of_distinct[places[num_known:]]]))
    return of_held


def named_twice(what: str) -> OmnisageError:
    """The error for known ids of which two are equal."""
    return OmnisageError(
        f"{what} of the earlier graph are damaged: one is there twice; delete it to number from scratch"
    )


def _make_distinct(bucket: int, given: Shuffle, what: str) -> _Bucket:
    keys, numbers = given.keys(bucket), given.numbers(bucket)
    known = numbers[numbers != UNKNOWN]
    table = new_table(keys.type)
    places = table.add(*native_keys(keys), num_threads=1)
    if not np.array_equal(places[: len(known)], np.arange(len(known))):
        raise named_twice(what)
    return _Bucket(known, places, from_native(keys.type, table.release())[len(known) :])


def _bounds(sample: pa.Array) -> pa.Array:
    """At most 255 keys that cut what the sample was drawn from into ranges of about equal size."""
    places = np.unique(np.linspace(0, len(sample), NUM_BUCKETS + 1).astype(np.int64)[1:-1])
    places = places[places < len(sample)]
    return sample.take(pa.array(sorted_order(sample)[places]))


def _sort(distinct: Shuffle, writer: IdWriter, num_threads: int) -> None:
    """Write the ids of all ranges in order, and number them."""
    buckets = np.flatnonzero(distinct.sizes()).tolist()
    for bucket, (keys, order) in zip(buckets, _ahead(partial(_sorted, distinct), buckets, num_threads), strict=True):
        numbers = np.empty(len(keys), np.uint32)
        numbers[order] = np.arange(writer.size, writer.size + len(keys)).astype(np.uint32)
        distinct.set_numbers(bucket, numbers)
        writer.append(keys)


def _sorted(distinct: Shuffle, bucket: int) -> tuple[pa.Array, NDArray[np.int64]]:
    """The keys of a range in order, and the place that each of them had."""
    keys = distinct.keys(bucket)
    order = sorted_order(keys)
    return keys.take(pa.array(order)), order


def _ahead(work: Callable[[int], _T], buckets: list[int], num_threads: int) -> Iterator[_T]:
    """The results for all buckets in order; as many threads work ahead, and no result waits beside theirs."""
    num_threads = num_threads or os.cpu_count() or 1
    coming = iter(buckets)
    with ThreadPoolExecutor(num_threads) as executor:
        running: deque[Future[_T]] = deque(executor.submit(work, bucket) for bucket in islice(coming, num_threads))
        while running:
            result = running.popleft().result()
            running.extend(executor.submit(work, bucket) for bucket in islice(coming, 1))
            yield result
