"""The validation score against loops over queries and candidates."""

import numpy as np
import pytest
import torch

from learning_world import Prepared
from omnisage.batches.batch import Histories
from omnisage.batches.description import SequenceDescription
from omnisage.batches.entities import describe_model
from omnisage.model.inference import embed_entities, embed_users
from omnisage.model.model import Model
from omnisage.tables.artifact import Tables
from omnisage.tasks import recalls
from omnisage.training import validation
from omnisage.training.validation import validate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tables(prepared: Prepared) -> Tables:
    return prepared.open_tables()


@pytest.fixture(scope="module")
def model(prepared: Prepared) -> Model:
    torch.manual_seed(3)
    return Model(describe_model(prepared.source(), {"user": SequenceDescription(2)}), prepared.config().model)


@pytest.fixture(scope="module")
def vectors(prepared: Prepared, model: Model) -> dict[str, np.ndarray]:
    model.eval()
    source = prepared.source()
    embed = {
        t: embed_entities(model.embedders, source, t, begin=0, end=n, device=CPU)
        for t, n in source.num_entities.items()
    }
    model.train()
    return embed


def is_hit(query: np.ndarray, candidates: np.ndarray, positive: int, excluded: set[int]) -> bool:
    """Is the positive among the ten best that are not excluded? Half of its ties stand before it."""
    scores = candidates @ query
    others = [scores[i] for i in range(len(scores)) if i not in excluded | {positive}]
    better, equal = sum(s > scores[positive] for s in others), sum(s == scores[positive] for s in others)
    return better + equal / 2 + 1 <= 10


def partners(tables: Tables, query_type: str, query: int, target_type: str) -> set[int]:
    found = {query} if query_type == target_type else set()
    for relation in tables.relations.values():
        for a, b in zip(relation.source_ids.tolist(), relation.target_ids.tolist(), strict=True):
            if (relation.source, a, relation.target) == (query_type, query, target_type):
                found.add(b)
            if (relation.target, b, relation.source) == (query_type, query, target_type):
                found.add(a)
    return found


@pytest.mark.parametrize("block", [512, 7])
def test_scores_are_those_of_a_loop(
    prepared: Prepared,
    tables: Tables,
    model: Model,
    vectors: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    block: int,
) -> None:
    monkeypatch.setattr(recalls, "_QUERIES_PER_BLOCK", block)
    metrics = validate(model, prepared.source(), tables, max_length=12)
    assert model.training  # as it was

    held_out = {types: pairs for types, pairs in tables.held_out_pairs("validation").items() if len(pairs)}
    by_types = [
        np.mean([is_hit(vectors[a][i], vectors[b], j, partners(tables, a, i, b)) for i, j in pairs.tolist()])
        for (a, b), pairs in held_out.items()
    ]
    weights = [len(pairs) ** 0.5 for pairs in held_out.values()]
    assert len(by_types) >= 2
    assert metrics["pairs_recall@10"] == pytest.approx(np.average(by_types, weights=weights), abs=1e-9)

    part = tables.sequences["user"].part("validation")
    assert part.queries is not None
    histories = Histories(part.indptr, part.entities, part.actions, part.times)
    users = embed_users(
        model.sequences["user"].eval(), vectors["item"], histories, part.queries, max_length=12, device=CPU
    )
    model.train()
    hits: list[bool] = []
    for user, (row, known) in zip(users, part.queries.tolist(), strict=True):
        begin = int(part.indptr[row])
        history = set(part.entities[begin : begin + known].tolist())
        hits.append(is_hit(user, vectors["item"], int(part.entities[begin + known]), history))
    assert metrics["user_recall@10"] == pytest.approx(np.mean(hits), abs=0.5 / len(hits))
    assert metrics["score"] == pytest.approx((metrics["user_recall@10"] + metrics["pairs_recall@10"]) / 2)


def test_a_model_that_embeds_all_alike_finds_no_more_than_chance(
    prepared: Prepared, tables: Tables, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed_all_alike(*_: object, begin: int, end: int, **__: object) -> np.ndarray:
        return np.full((end - begin, 8), 0.25, np.float32)

    monkeypatch.setattr(validation, "embed_entities", embed_all_alike)
    assert validate(model, prepared.source(), tables, max_length=12)["score"] < 10 / 120
