"""What a user was shown and did not choose, by event: negatives of that next action alone.

Source: TransAct V2 and PinFM (Pinterest, 2025), whose next-action losses take impressions for negatives.
Shapes: e events, i impressions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.tables.artifact import SequencePart, TablesImpressions

_ENTITY_BITS = np.uint64(32)


@dataclass(frozen=True)
class EventImpressions:
    """Event j was chosen while `entities[begins[j]:ends[j]]` were shown and not chosen, each once."""

    entities: NDArray[np.uint32]
    begins: NDArray[np.int64]  # [e]
    ends: NDArray[np.int64]  # [e]
    num_drawn: int  # per event


def event_impressions(
    part: SequencePart, shown: TablesImpressions, *, num_drawn: int, mask_history: bool
) -> EventImpressions:
    """Give every impression to the next second in which its user did something.

    So an event has what was shown after the second of the event before and up to its own; events of one second, which
    have no order, have the same. What comes after a user's last event belongs to none.

    Args:
        part: the training events, at least one.
        shown: what these users were shown.
        num_drawn: how many a step draws per event.
        mask_history: leave out what the user has chosen so far; without it, only what the user chose in that second.
    """
    users = np.repeat(np.arange(len(part.users)), np.diff(part.indptr.astype(np.int64)))
    is_first = np.ones(len(users), np.bool_)  # of the events of its second
    is_first[1:] = (users[1:] != users[:-1]) | (part.times[1:] != part.times[:-1])
    seconds = np.cumsum(is_first) - 1  # [e], numbered over all users
    places = _next_events(part, users, shown)
    was_next = places < len(users)
    pairs = np.unique(_keys(seconds[places[was_next]], shown.entities[was_next]))
    seconds_of_pairs, entities = (pairs >> _ENTITY_BITS).astype(np.int64), pairs.astype(np.uint32)

    owners = users if mask_history else seconds
    chosen, first_events = np.unique(_keys(owners, part.entities), return_index=True)
    wanted = _keys(owners[is_first][seconds_of_pairs], entities)
    found = np.minimum(np.searchsorted(chosen, wanted), len(chosen) - 1)
    is_chosen = (chosen[found] == wanted) & (seconds[first_events[found]] <= seconds_of_pairs)
    kept = seconds_of_pairs[~is_chosen]
    begins, ends = (np.searchsorted(kept, seconds, side=side) for side in ("left", "right"))
    return EventImpressions(entities[~is_chosen], begins, ends, num_drawn)


def _next_events(part: SequencePart, users: NDArray[np.int64], shown: TablesImpressions) -> NDArray[np.int64]:
    """The first event [i] of the same user at or after each impression; the number of all events if there is none."""
    first, last = int(part.times.min()), int(part.times.max())
    span = last - first + 2
    moments = users * span + (part.times - first)
    rows = np.searchsorted(part.users, shown.users)
    places = np.searchsorted(moments, rows * span + (np.clip(shown.times, first, last + 1) - first))
    return np.where(places < part.indptr.astype(np.int64)[rows + 1], places, len(users))


def _keys(owners: NDArray[np.int64], entities: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return (owners.astype(np.uint64) << _ENTITY_BITS) | entities.astype(np.uint64)
