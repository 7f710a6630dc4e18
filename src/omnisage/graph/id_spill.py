"""Numbers for the ids that did not fit into memory: made distinct bucket by bucket, then sorted range by range.

What was given is dealt out by hash, so that equal ids meet in one bucket, and buckets are alike in size whatever the
ids are. The distinct ids of all buckets are dealt out once more, by range, the bounds taken from one bucket, which is a
fair sample: ranges one after the other are the order of all. Their numbers then go back the way the ids came.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    sample.append(_make_distinct(given, what, buckets[0], is_trial=True)[1])
    bounds = _bounds(pa.concat_arrays(sample))
    distinct = given.beside("distinct", partial(place, bounds=bounds, num_threads=num_threads))
    distinct.append(held)
    num_held = len(held)
    del held, sample
    counts: list[tuple[int, int]] = []  # of each bucket: known and new ids
    for num_known, new in _ahead(partial(_make_distinct, given, what), buckets, num_threads):
        counts.append((num_known, len(new)))
        distinct.append(new)
    given.drop_keys()
    distinct.flush()
    _sort(distinct, writer, num_threads)
    distinct.drop_keys()
    numbers = NumberReader(distinct)
    of_held = numbers.take(num_held)
    for bucket, (num_known, num_new) in zip(buckets, counts, strict=True):
        _number(given, bucket, num_known, numbers.take(num_new))
    return of_held


def named_twice(what: str) -> OmnisageError:
    """The error for known ids of which two are equal."""
    return OmnisageError(
        f"{what} of the earlier graph are damaged: one is there twice; delete it to number from scratch"
    )


def _make_distinct(given: Shuffle, what: str, bucket: int, *, is_trial: bool = False) -> tuple[int, pa.Array]:
    """Give each id of a bucket its place among the distinct ones, instead of a number; known ones keep theirs.

    Args:
        is_trial: leave the numbers alone.

    Returns:
        How many known ids there are, which come first, and the distinct others.
    """
    num_known, table = 0, new_table(given.kind)
    for block in given.runs(bucket):
        keys, numbers = given.keys(bucket, block), given.numbers(bucket, block)
        places = table.add(*native_keys(keys), num_threads=1)
        is_known = numbers != UNKNOWN
        known = places[is_known]
        if not np.array_equal(known, np.arange(num_known, num_known + len(known))):
            raise named_twice(what)
        num_known += len(known)
        if not is_trial:
            given.set_numbers(bucket, block, np.where(is_known, numbers, places))
    return num_known, from_native(given.kind, table.release())[num_known:]


def _number(given: Shuffle, bucket: int, num_known: int, of_new: NDArray[np.uint32]) -> None:
    """Give each id of a bucket its number for the place that `_make_distinct` left there."""
    of_known: NDArray[np.uint32] = np.empty(0, np.uint32)
    for block in given.runs(bucket):
        places = given.numbers(bucket, block)
        missing = num_known - len(of_known)  # known ids come first, and have their numbers
        of_known = np.concatenate([of_known, places[:missing]])
        rest = places[missing:]
        if len(rest):
            numbers = np.concatenate([of_known, of_new])[rest]
            given.set_numbers(bucket, block, np.concatenate([places[:missing], numbers]))


def _bounds(sample: pa.Array) -> pa.Array:
    """At most 255 keys that cut what the sample was drawn from into ranges of about equal size."""
    places = np.unique(np.linspace(0, len(sample), NUM_BUCKETS + 1).astype(np.int64)[1:-1])
    places = places[places < len(sample)]
    return sample.take(pa.array(sorted_order(sample)[places]))


def _sort(distinct: Shuffle, writer: IdWriter, num_threads: int) -> None:
    """Write the ids of all ranges in order, and number them."""
    buckets = np.flatnonzero(distinct.sizes()).tolist()
    found = _ahead(partial(_sorted, distinct), buckets, num_threads)
    for bucket, (keys, order) in zip(buckets, found, strict=True):
        numbers = np.empty(len(keys), np.uint32)
        numbers[order] = np.arange(writer.size, writer.size + len(keys)).astype(np.uint32)
        begin = 0
        for block in distinct.runs(bucket):
            end = begin + distinct.run_size(bucket, block)
            distinct.set_numbers(bucket, block, numbers[begin:end])
            begin = end
        writer.append(keys)


def _sorted(distinct: Shuffle, bucket: int) -> tuple[pa.Array, NDArray[np.int64]]:
    """The keys of a range in order, and the place that each of them had."""
    keys = pa.concat_arrays([distinct.keys(bucket, block) for block in distinct.runs(bucket)])
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
