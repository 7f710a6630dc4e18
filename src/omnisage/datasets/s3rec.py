"""S3-Rec's leave-one-out format: one line per user, items in order, without times.

Reads `<Name>.txt` and `<Name>_item2attributes.json`; where they are there, `*datamaps*.json` (ids in the original
data), `attribute_names*.json`, and IDGenRec's `item_generative_indexing_phase_0.txt` (key words by original id).
An event's time is its position in the line: the last event is the test, the last but one the validation.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnisage.datasets.delimited import damaged, read_lines
from omnisage.datasets.parquet import edge_table
from omnisage.errors import OmnisageError

_ATTRIBUTES = "_item2attributes.json"
_KEY_WORDS = "item_generative_indexing_phase_0.txt"


def read(source: Path) -> dict[str, pa.Table]:
    """Read a folder with one data set in this format.

    Returns:
        Entities `items` (item_id; original_id and key_words or null; attribute_ids), `attributes` (attribute_id,
        name or null); relation `has_attribute`; events `events` (user_id, item_id, position from 0).
    """
    attributes_file = _only(source, f"*{_ATTRIBUTES}")
    events = _read_events(source / f"{attributes_file.name.removesuffix(_ATTRIBUTES)}.txt")
    item_attributes = _read_json(attributes_file)
    edges = {(int(item), int(attribute)) for item, listed in item_attributes.items() for attribute in listed}
    items = sorted({item for item, _ in edges} | set(events["item_id"].to_pylist()))
    attributes_of: dict[int, list[int]] = {item: [] for item in items}
    for item, attribute in sorted(edges):
        attributes_of[item].append(attribute)
    original_ids = _original_ids(source, items)
    key_words = _read_key_words(source / _KEY_WORDS)
    attributes = sorted({attribute for _, attribute in edges})
    names = _read_json(_only(source, "attribute_names*.json")) if any(source.glob("attribute_names*.json")) else {}
    return {
        "items": pa.table(
            {
                "item_id": items,
                "original_id": pa.array([original_ids.get(item) for item in items], pa.string()),
                "key_words": pa.array([key_words.get(original_ids.get(item, "")) for item in items], pa.string()),
                "attribute_ids": pa.array([attributes_of[item] for item in items], pa.list_(pa.int64())),
            }
        ),
        "attributes": pa.table(
            {
                "attribute_id": attributes,
                "name": pa.array([names.get(str(attribute)) for attribute in attributes], pa.string()),
            }
        ),
        "has_attribute": edge_table(("item_id", "attribute_id"), edges),
        "events": events,
    }


def _read_events(path: Path) -> pa.Table:
    users: list[int] = []
    items: list[int] = []
    positions: list[int] = []
    for line, row in read_lines(path):
        try:
            user, *visited = map(int, row.split())
        except ValueError:
            raise damaged(path, line, f"{row!r} is no user id followed by item ids, all whole numbers") from None
        if not visited:
            raise damaged(path, line, f"user {user} has no items")
        users += [user] * len(visited)
        items += visited
        positions += range(len(visited))
    return pa.table({"user_id": users, "item_id": items, "position": positions})


def _original_ids(source: Path, items: list[int]) -> dict[int, str]:
    """Item ids in the original data."""
    if not any(source.glob("*datamaps*.json")):
        return {}
    path = _only(source, "*datamaps*.json")
    maps = _read_json(path)
    mapping: dict[str, str] = maps.get("id2item") or maps.get("item2id") or {}
    # Copies of this file call the map by either name; the side that holds this data set's ids tells the direction.
    if mapping.keys() >= {str(item) for item in items}:
        return {int(item): original for item, original in mapping.items()}
    inverse = {item: original for original, item in mapping.items()}
    if inverse.keys() >= {str(item) for item in items}:
        return {int(item): original for item, original in inverse.items()}
    raise OmnisageError(f"{path} maps not every item of the sequences; get the official file again, or remove it")


def _read_key_words(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    pairs = (row.partition(" ") for _, row in read_lines(path))
    return {original: words for original, _, words in pairs}


def _only(source: Path, pattern: str) -> Path:
    found = sorted(source.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise OmnisageError(f"{source} must hold exactly one file '{pattern}', found: {names}; name another folder")
    return found[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise OmnisageError(f"{path} is no JSON ({error}); get the official file again") from error
    if not isinstance(content, dict):
        raise OmnisageError(f"{path} holds a {type(content).__name__}, expected an object; get the official file again")
    return content
