"""Segments of pair logs, from the table to the shares of a batch."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tables_building import Config, Tables, build_tables, parse, small

from omnisage.batches.positives import draw_pairs, pair_groups
from omnisage.errors import OmnisageError
from omnisage.tables.artifact import open_tables
from omnisage.tables.leaks import find_leaks

ROWS = [("a", "b", "video"), ("a", "c", "promoted"), ("b", "c", "video"), ("c", "d", "plain"), ("a", "b", "video"),
        ("d", "a", "plain"), ("b", "b", "promoted"), ("b", "d", "later")]  # fmt: skip


def segmented(segments: list[Any] | None = None, **options: Any) -> tuple[Tables, Config]:
    """The small example with a log of `ROWS`, of which the last is dated 100 and all others 1."""
    tables, config = small("pairs")
    one, other, segment = zip(*ROWS, strict=True)
    at = [1] * (len(ROWS) - 1) + [100]
    tables["alike.parquet"] = pa.table(
        {"one": one, "other": other, "at": at, "kind": pa.array(segments if segments is not None else segment)}
    )
    config["pairs"]["alike"] |= {"segment": "kind", **options}
    return tables, config


def test_pairs_keep_their_segment_and_segments_their_weight(tmp_path: Path) -> None:
    tables, config = segmented(segment_weights={"promoted": 2.0, "video": 0.5}, weight=3.0)
    opened = open_tables(build_tables(tmp_path, tables, config))
    log = opened.pairs["alike"]
    assert opened.manifest.counts["pairs"]["alike"]["segments"] == [
        {"name": "later", "weight": 1.0},
        {"name": "plain", "weight": 1.0},
        {"name": "promoted", "weight": 2.0},
        {"name": "video", "weight": 0.5},
    ]
    assert (log.weight, log.segment_weights) == (3.0, (1.0, 1.0, 2.0, 0.5))
    assert log.segments is not None
    names = ["later", "plain", "promoted", "video"]
    found = zip(log.source_ids.tolist(), log.target_ids.tolist(), [names[i] for i in log.segments], strict=True)
    expected = sorted(("abcd".index(a), "abcd".index(b), s) for a, b, s in ROWS if a != b)
    assert list(found) == expected


def test_each_segment_is_a_group_whose_share_is_its_weight_times_the_root_of_its_number(tmp_path: Path) -> None:
    tables, config = segmented(segment_weights={"promoted": 2.0, "video": 0.5}, weight=3.0)
    (groups,) = pair_groups(open_tables(build_tables(tmp_path, tables, config)), 0)
    found = [(len(group.source_ids), group.share) for group in groups]
    counts = Counter(segment for one, other, segment in ROWS if one != other)
    weights = {"later": 3.0, "plain": 3.0, "promoted": 6.0, "video": 1.5}
    assert found == [(counts[name], pytest.approx(weight * counts[name] ** 0.5)) for name, weight in weights.items()]

    drawn = Counter[tuple[int, int]]()
    for step in range(400):
        for _, _, source_ids, target_ids in draw_pairs(groups, 16, seed=0, step=step):
            drawn.update(zip(source_ids.tolist(), target_ids.tolist(), strict=True))
    total = sum(share for _, share in found)
    assert drawn[0, 2] / (400 * 16) == pytest.approx(6.0 / total, abs=0.03)  # the one promoted pair
    assert (drawn[0, 1] + drawn[1, 2]) / (400 * 16) == pytest.approx(1.5 * 3**0.5 / total, abs=0.03)


def test_folds_divide_every_segment(tmp_path: Path) -> None:
    opened = open_tables(build_tables(tmp_path, *segmented()))
    by_fold = pair_groups(opened, 3)
    pairs = sorted(
        pair
        for fold in by_fold
        for group in fold
        for pair in zip(group.source_ids.tolist(), group.target_ids.tolist(), strict=True)
    )
    log = opened.pairs["alike"]
    assert pairs == sorted(zip(log.source_ids.tolist(), log.target_ids.tolist(), strict=True))


def test_a_segment_that_begins_after_training_is_unknown_to_training(tmp_path: Path) -> None:
    tables, config = segmented(segment_weights={"later": 9.0})
    config["split"] |= {"train_end": 50}
    opened = open_tables(build_tables(tmp_path, tables, config))
    segments = opened.manifest.counts["pairs"]["alike"]["segments"]
    assert [segment["name"] for segment in segments] == ["plain", "promoted", "video"]
    assert find_leaks(opened) == []


def test_a_log_without_segments_has_no_such_file(tmp_path: Path) -> None:
    folder = build_tables(tmp_path, *small("pairs"))
    log = open_tables(folder).pairs["alike"]
    assert (log.segments, log.segment_weights) == (None, ())
    assert sorted(path.name for path in (folder / "pairs" / "alike").iterdir()) == ["source.npy", "target.npy"]


def test_a_relation_may_be_made_of_a_log_with_segments(tmp_path: Path) -> None:
    tables, config = segmented()
    config["relations"] = {"alike": {"pairs": "alike"}}
    relation = open_tables(build_tables(tmp_path, tables, config)).relations["alike"]
    assert relation.weights is not None
    assert float(np.sum(relation.weights)) == sum(one != other for one, other, _ in ROWS)


@pytest.mark.parametrize(
    ("segments", "options", "message"),
    [
        (None, {"segment_weights": {"vidéo": 2.0}}, r"pairs\.alike\.segment_weights: in column 'kind' of alike\."
         r"parquet there is no segment 'vidéo'; did you mean 'video'\? \(allowed: later, plain, promoted, video\)"),
        (None, {"segment": "sort"}, r"pairs\.alike\.segment: in alike\.parquet there is no column 'sort'"),
        ([None] + [1] * 7, {}, r"pairs\.alike\.segment: alike\.parquet has 1 row without a value in column 'kind'"),
        ([0.5] * 8, {}, r"pairs\.alike\.segment: alike\.parquet has type float64 in column 'kind'; a segment is"),
    ],
)  # fmt: skip
def test_segments_that_are_not_there_are_refused(
    tmp_path: Path, segments: list[Any] | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OmnisageError, match=message):
        build_tables(tmp_path, *segmented(segments, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_sequence": "user", "segment": "kind"}, "'segment' is a column of a pair log's own table"),
        ({"segment": None, "segment_weights": {"video": 1.0}}, "'segment_weights' needs 'segment'"),
        ({"segment_weights": {"video": 0.0}}, "greater than 0"),
    ],
)
def test_segments_that_make_no_sense_are_refused_by_the_config(options: dict[str, Any], message: str) -> None:
    _, config = segmented(**options)
    if "from_sequence" in options:
        config["pairs"]["alike"] = options
    with pytest.raises(ValueError, match=message):
        parse(config)
