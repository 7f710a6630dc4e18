"""Batches of unique entities against loops that look up every anchor and neighbor in the source."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_sources import EPS, make_source

from omnisage.batches.batch import Bags, RawFeature
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, ModelDescription, SequenceDescription
from omnisage.batches.entities import EMPTY, EntitySource, build_entity_batch, describe_model
from omnisage.batches.features import gather_lists
from omnisage.tables.artifact import CategoryArrays, FeatureArrays, NumberArrays, TextArrays

NUM_ENTITIES = {"item": 9, "person": 5, "tag": 1}


def row_of(raw: RawFeature, row: int) -> list[float]:
    """What a batch holds of one feature of one entity."""
    if isinstance(raw, Bags):
        return raw.values[raw.offsets[row] : raw.offsets[row + 1]].tolist()
    return raw[row].tolist()


def in_source(feature: FeatureArrays, i: int) -> list[float]:
    """What it should hold."""
    match feature:
        case TextArrays():
            return feature.tokens[int(feature.indptr[i]) : int(feature.indptr[i + 1])].astype(np.int64).tolist()
        case CategoryArrays():
            return feature.indices[int(feature.indptr[i]) : int(feature.indptr[i + 1])].tolist()
        case NumberArrays():
            return [float(feature.values[i]), float(feature.present[i])]
        case _:
            return [*feature.values[i].tolist(), float(feature.present[i])]


def check_batch(source: EntitySource, anchors: dict[str, np.ndarray]) -> None:
    batch, unique = build_entity_batch(source, anchors)
    places = [(t, int(i)) for t in source.num_entities for i in unique[t]]  # neighbors' rows count over all types
    wanted = {(t, int(i)) for t, ids in anchors.items() for i in ids}
    assert list(batch.anchors) == list(anchors)
    for entity_type, ids in anchors.items():
        rows, neighbors = batch.anchors[entity_type], source.neighbors[entity_type]
        assert unique[entity_type][rows.rows_B.numpy()].tolist() == ids.tolist()
        for b, i in enumerate(ids):
            for block in neighbors.blocks:
                for k in range(block.begin, block.end):
                    neighbor, weight = int(neighbors.ids[i, k]), float(neighbors.weights[i, k])
                    assert bool(rows.present_BK[b, k]) == (neighbor != EMPTY)
                    expected = math.log(1 + weight / EPS) / math.log(1 + 1 / EPS)
                    assert rows.log_weights_BK[b, k].item() == pytest.approx(expected, abs=1e-6)
                    if neighbor != EMPTY:
                        wanted.add((block.type, neighbor))
                        assert places[int(rows.neighbors_BK[b, k])] == (block.type, neighbor)
                    else:
                        assert rows.neighbors_BK[b, k] == 0
    assert places == sorted(wanted, key=lambda place: (list(NUM_ENTITIES).index(place[0]), place[1]))

    for entity_type, features in source.features.items():
        for row, i in enumerate(unique[entity_type].tolist()):
            raw = batch.features[entity_type]
            for name, feature in features.items():
                assert row_of(raw[name], row) == in_source(feature, i)
            assert row_of(raw[LOG_DEGREE], row) == pytest.approx([math.log(1 + source.degrees[entity_type][i])])


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_rows_weights_and_features_are_those_of_the_right_entities(
    data: st.DataObject, seed: int, share: float
) -> None:
    source = make_source(np.random.default_rng(seed), NUM_ENTITIES, share=share)
    types = data.draw(st.lists(st.sampled_from(list(NUM_ENTITIES)), unique=True, min_size=1))
    anchors = {
        t: np.array(data.draw(st.lists(st.integers(0, NUM_ENTITIES[t] - 1), unique=True)), np.uint32) for t in types
    }
    check_batch(source, anchors)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), lengths=st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_lists_are_gathered_one_after_the_other(data: st.DataObject, lengths: list[int]) -> None:
    indptr = np.append(0, np.cumsum(lengths)).astype(np.uint64)
    values = np.arange(sum(lengths)) * 3
    ids = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8))
    gathered, offsets = gather_lists(indptr, values, np.array(ids, np.uint32))
    expected = [values[int(indptr[i]) : int(indptr[i + 1])].tolist() for i in ids]
    assert [gathered[offsets[j] : offsets[j + 1]].tolist() for j in range(len(ids))] == expected
    assert offsets.tolist() == np.append(0, np.cumsum([len(one) for one in expected])).tolist()


def test_a_model_is_described_by_sizes_of_features_and_slots() -> None:
    source = make_source(np.random.default_rng(0), NUM_ENTITIES)
    description = describe_model(source, {"user": SequenceDescription(4)})
    assert description.types["item"].num_slots == 8
    assert description.types["person"].features == {
        "title": FeatureDescription("text", 0),
        "kinds": FeatureDescription("category", 5),
        "year": FeatureDescription("number", 2),
        "image": FeatureDescription("vector", 4),
        LOG_DEGREE: FeatureDescription("number", 1),
    }
    assert list(description.types["person"].features)[-1] == LOG_DEGREE
    assert ModelDescription.from_json(description.to_json()) == description
