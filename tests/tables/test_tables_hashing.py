"""Draws are SHA-256 as hashlib computes it, so another engine can repeat them."""

import hashlib
from collections import Counter

import ibis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisage.tables.config import Split
from omnisage.tables.hashing import draw, is_below, pair_part, user_part


def values(expr: ibis.Table) -> list[str]:
    return ibis.duckdb.connect(threads=1).to_pyarrow(expr)[0].to_pylist()


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1),
    seed=st.integers(0, 2**63),
)
def test_a_draw_is_the_beginning_of_a_sha256(texts: list[str], seed: int) -> None:
    table = ibis.memtable(pa.table({"text": texts, "number": list(range(len(texts)))}))
    found = values(
        table.order_by("number").select(drawn=draw(seed, ["some", "purpose"], table["text"], table["number"]))
    )
    keys = [f"{seed}|some|purpose|{text}|{number}" for number, text in enumerate(texts)]
    assert found == [hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys]


@pytest.mark.parametrize("share", [0.0, 1e-18, 0.1, 0.5, 0.999999])
def test_a_share_of_the_draws_is_below_it(share: float) -> None:
    table = ibis.memtable(pa.table({"i": np.arange(20_000)}))
    found = np.mean(values(table.select(below=is_below(draw(0, ["x"], table["i"]), share))))
    assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / 20_000)


def test_the_part_of_a_pair_does_not_depend_on_its_direction() -> None:
    split = Split(test_pairs=0.3, validation_pairs=0.3)
    table = ibis.memtable(pa.table({"a": np.arange(500), "b": np.arange(500)[::-1]}))
    one = values(table.order_by("a").select(part=pair_part(5, table["a"], table["b"], ("x", "y"), split)))
    other = values(table.order_by("a").select(part=pair_part(5, table["b"], table["a"], ("y", "x"), split)))
    swapped = values(table.order_by("a").select(part=pair_part(5, table["b"], table["a"], ("x", "y"), split)))
    assert one == other
    assert one != swapped
    assert min(Counter(one).values()) > 100


def test_integer_and_text_ids_of_users_draw_alike() -> None:
    split = Split(test_users=0.3, validation_users=0.3)
    table = ibis.memtable(pa.table({"i": np.arange(200), "text": [str(i) for i in range(200)]}))
    ordered = table.order_by("i")
    assert values(ordered.select(part=user_part(1, table["i"], split))) == values(
        ordered.select(part=user_part(1, table["text"], split))
    )
