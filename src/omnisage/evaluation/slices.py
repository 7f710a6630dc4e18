"""Parts of the entities by which results are told apart: by popularity, by age, and by what content is missing.

A slice counts only the positives that are in it, at the ranks they have in the full corpus. Where it begins and ends is
found from training alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.tables.artifact import CategoryArrays, FeatureArrays, Tables, TextArrays

ALL = "all"

_FOURTHS = ("1st fourth", "2nd fourth", "3rd fourth", "4th fourth")


@dataclass(frozen=True)
class Slice:
    """Some of the N entities of a type."""

    name: str  # the same in every run: "popularity: 1st fourth"
    meaning: str  # in this run: "used 1 to 3 times"
    members: NDArray[np.bool_]  # [N]


def entity_slices(tables: Tables, entity_type: str, popularity: NDArray[np.float32]) -> list[Slice]:
    """The slices of a type that have members, but for those that all entities are in.

    Args:
        tables: the `tables` artifact.
        entity_type: of the positives.
        popularity: [N] float32, uses in training.
    """
    found = [
        *_by_popularity(popularity),
        *_by_age(first_seen(tables, entity_type)),
        *_by_missing(tables.features.get(entity_type, {})),
    ]
    return [part for part in found if part.members.any() and not part.members.all()]


def first_seen(tables: Tables, entity_type: str) -> NDArray[np.float64]:
    """When each entity had its first training event, Unix seconds.

    Returns:
        [N] float64, infinite where training has no event of it.
    """
    first = np.full(tables.num_entities[entity_type], np.inf)
    for sequence in tables.sequences.values():
        if sequence.entity == entity_type:
            train = sequence.part("train")
            np.minimum.at(first, train.entities, train.times.astype(np.float64))
    return first


def missing_features(features: dict[str, FeatureArrays]) -> dict[str, NDArray[np.bool_]]:
    """By feature, the entities that lack it: a null, an empty list, a text without words; [N] each."""
    missing: dict[str, NDArray[np.bool_]] = {}
    for name, feature in features.items():
        match feature:
            case TextArrays() | CategoryArrays():
                missing[name] = np.diff(feature.indptr) == 0
            case _:
                missing[name] = ~feature.present
    return missing


def _by_popularity(popularity: NDArray[np.float32]) -> Iterator[Slice]:
    """Those without any use in training; the others in four parts of equal size, equal popularity in one part."""
    seen = popularity > 0
    yield Slice("popularity: unseen", "not used in training", ~seen)
    if not seen.any():
        return
    bounds = np.quantile(popularity[seen], [0.25, 0.5, 0.75], method="inverted_cdf")
    fourth = np.searchsorted(bounds, popularity, side="left")
    for number, name in enumerate(_FOURTHS):
        members = seen & (fourth == number)
        if members.any():
            low, high = popularity[members].min(), popularity[members].max()
            yield Slice(f"popularity: {name}", f"used {low:,.0f} to {high:,.0f} times in training", members)


def _by_age(first: NDArray[np.float64]) -> Iterator[Slice]:
    """Of a type that has events: those without one in training, the fourth that came last, and the others."""
    seen = np.isfinite(first)
    if not seen.any():
        return
    bound = np.quantile(first[seen], 0.75, method="inverted_cdf")
    yield Slice("age: unseen", "no event in training", ~seen)
    yield Slice("age: recent", "of those with events, the fourth that came last", seen & (first > bound))
    yield Slice("age: old", "the others with events", seen & (first <= bound))


def _by_missing(features: dict[str, FeatureArrays]) -> Iterator[Slice]:
    for name, members in missing_features(features).items():
        yield Slice(f"missing: {name}", f"no {name}", members)
