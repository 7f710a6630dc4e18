"""The settings of item-kNN are those that the validation users speak for."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.evaluation.item_knn_choice import choose_item_knn


def tables_of(train: list[list[int]], validation: list[list[int]], queries: list[tuple[int, int]]) -> Any:
    def part(rows: list[list[int]], asked: list[tuple[int, int]] | None) -> SimpleNamespace:
        return SimpleNamespace(
            indptr=np.cumsum([0, *map(len, rows)]).astype(np.uint64),
            entities=np.array([entity for row in rows for entity in row], np.uint32),
            times=np.array([time for row in rows for time in range(len(row))], np.int64),
            queries=None if asked is None else np.array(asked, np.uint32).reshape(-1, 2),
        )

    parts = {"train": part(train, None), "validation": part(validation, queries)}
    return SimpleNamespace(
        num_entities={"film": 40},
        sequences={"user": SimpleNamespace(entity="film", part=parts.__getitem__)},
        window_end=None,
        leaves_one_out=False,
        manifest=SimpleNamespace(plan=SimpleNamespace(config={"split": {"future_s": 100}})),
    )


def choose(tables: Any) -> ItemKnnSettings:
    return choose_item_knn(tables, "user", "user_entity_next", k=1, mask_history=True)


def test_recency_is_chosen_where_only_the_last_event_matters() -> None:
    train = [[2 * i, 2 * i + 1] for i in range(20)]
    # What comes next goes with the last event; the older one speaks as loudly for something else.
    validation = [[20, 2 * i, 2 * i + 1] for i in range(10)]
    settings = choose(tables_of(train, validation, [(row, 2) for row in range(10)]))
    assert settings.half_life is not None


def test_without_validation_queries_it_is_the_plain_cosine() -> None:
    assert choose(tables_of([[1, 2], [2, 3]], [], [])) == ItemKnnSettings()
    repetition = tables_of([[1, 2], [2, 3]], [[1, 1]], [(0, 1)])  # its only positive is masked
    assert choose(repetition) == ItemKnnSettings()


def test_the_plain_cosine_stays_where_nothing_is_better() -> None:
    train = [[2 * i, 2 * i + 1] for i in range(20)]
    validation = [[2 * i, 2 * i + 1] for i in range(20)]
    assert choose(tables_of(train, validation, [(row, 1) for row in range(20)])) == ItemKnnSettings()
