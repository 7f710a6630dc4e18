"""HetRec 2011 Last.fm: artists, tags, dated tag assignments, friends, play counts.

Reads `artists.dat`, `tags.dat`, `user_artists.dat`, `user_friends.dat`, `user_taggedartists.dat`.
Traps: plays have no date, so they may leak the future into training; most tag dates are exact to the month only.
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from omnisage.datasets.delimited import Layout, damaged, integer, read_columns, text
from omnisage.datasets.parquet import edge_table

_ARTISTS = Layout(
    "\t",
    {"artist_id": integer, "name": text, "url": str, "picture": str},
    header="id\tname\turl\tpictureURL",
)
_TAGS = Layout("\t", {"tag_id": integer, "name": text}, header="tagID\ttagValue", encoding="latin-1")
_PLAYS = Layout(
    "\t",
    {"user_id": integer, "artist_id": integer, "plays": integer},
    header="userID\tartistID\tweight",
)
_FRIENDS = Layout("\t", {"user_id": integer, "friend_id": integer}, header="userID\tfriendID")
_TAGGED = Layout(
    "\t",
    dict.fromkeys(("user_id", "artist_id", "tag_id", "day", "month", "year"), integer),
    header="userID\tartistID\ttagID\tday\tmonth\tyear",
)
# Last.fm went online in 2002; the few assignments dated before are mistakes of the source.
_FIRST_YEAR = 2002


def read(source: Path) -> dict[str, pa.Table]:
    """Read the official folder.

    Returns:
        Entities `artists` (artist_id, name; null for artists that are tagged but not listed), `tags` (tag_id, name),
        `collections` (collection_id, name: what one user gave one tag); events with Unix time `tagged` (user_id,
        artist_id, tag_id, collection_id, timestamp), `first_tagged` (a user's first of an artist); relations
        `friends` (one row per pair), `plays` (with counts, undated).
    """
    tags = read_columns(source / "tags.dat", _TAGS)
    artists = read_columns(source / "artists.dat", _ARTISTS)
    friends = read_columns(source / "user_friends.dat", _FRIENDS)
    tagged = _read_tagged(source / "user_taggedartists.dat")
    unlisted = sorted(set(tagged["artist_id"].to_pylist()) - set(artists["artist_id"]))
    pairs = {(min(pair), max(pair)) for pair in zip(friends["user_id"], friends["friend_id"], strict=True)}
    return {
        "artists": pa.table(
            {
                "artist_id": artists["artist_id"] + unlisted,
                "name": pa.array(artists["name"] + [None] * len(unlisted), pa.string()),
            }
        ),
        "tags": pa.table(tags),
        "collections": _collections(tagged, dict(zip(tags["tag_id"], tags["name"], strict=True))),
        "tagged": tagged,
        "first_tagged": _first_tagged(tagged),
        "friends": edge_table(("user_id", "friend_id"), pairs),
        "plays": pa.table(read_columns(source / "user_artists.dat", _PLAYS)),
    }


def _read_tagged(path: Path) -> pa.Table:
    """The assignments with a possible date, in time.

    Seconds within a day are the order in the file, which is the only order known: they keep a user's events apart.
    """
    columns = read_columns(path, _TAGGED)
    rows: list[tuple[int, int, int, int, str]] = []
    num_on_day: Counter[tuple[int, datetime]] = Counter()
    for line, fields in enumerate(zip(*columns.values(), strict=True), start=2):
        user, artist, tag, day, month, year = fields
        if year < _FIRST_YEAR:
            continue
        try:
            date = datetime(year, month, day, tzinfo=UTC)
        except ValueError as error:
            raise damaged(path, line, f"no date: day {day}, month {month}, year {year} ({error})") from error
        rows.append((int(date.timestamp()) + num_on_day[user, date], user, artist, tag, f"{user}-{tag}"))
        num_on_day[user, date] += 1
    rows.sort()
    names = ("timestamp", "user_id", "artist_id", "tag_id", "collection_id")
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    num_dropped = len(columns["year"]) - len(rows)
    return table.replace_schema_metadata({"dropped: date before 2002": str(num_dropped)})


def _collections(tagged: pa.Table, tag_names: dict[int, str]) -> pa.Table:
    ids = zip(tagged["collection_id"].to_pylist(), tagged["tag_id"].to_pylist(), strict=True)
    collections = sorted(set(ids))
    return pa.table(
        {
            "collection_id": [collection for collection, _ in collections],
            "name": pa.array([tag_names.get(tag) for _, tag in collections], pa.string()),
        }
    )


def _first_tagged(tagged: pa.Table) -> pa.Table:
    first: dict[tuple[int, int], int] = {}
    for row in tagged.select(["user_id", "artist_id", "timestamp"]).to_pylist():
        first.setdefault((row["user_id"], row["artist_id"]), row["timestamp"])
    return pa.table(
        {
            "user_id": [user for user, _ in first],
            "artist_id": [artist for _, artist in first],
            "timestamp": list(first.values()),
        }
    )
