"""Routes that find entities: similar ones, and recommendations for a user."""

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.index.filters import filterable, row_mask
from omnisage.schema import unknown_name
from omnisage.serve.context import Context, Given
from omnisage.serve.errors import ApiError
from omnisage.serve.schemas import Event, Range, RecommendAnswer, RecommendRequest, SimilarAnswer, SimilarRequest, Where

router = APIRouter(prefix="/v1", tags=["retrieval"])

_NUM_KNOWN_SHOWN = 20

Ids = NDArray[np.uint32]


@router.post("/similar")
def similar(context: Given, body: SimilarRequest) -> SimilarAnswer:
    """Entities whose embeddings have the largest inner product with that of an entity, or with a vector."""
    context.check_limit("k", body.k, context.limits.k)
    target = context.check_type(body.to or body.type)
    exclude: Ids = np.empty(0, np.uint32)
    if body.id is not None:
        dense = context.entity(body.type, body.id)
        query = np.ascontiguousarray(context.served.embeddings.entities[body.type][dense])
        exclude = np.array([dense], np.uint32) if target == body.type else exclude
    else:
        query = _checked_vector(context, body.vector or [])
    allow = _allowed(context, target, body.where)
    scores, found = context.served.index.search(target, query[None], body.k, exclude=[exclude], allow=allow)
    return SimilarAnswer(results=context.hits(target, scores[0], found[0]))


@router.post("/recommend")
def recommend(context: Given, body: RecommendRequest) -> RecommendAnswer:
    """Entities for a user of the tables, or for one of whom you post the events."""
    context.check_limit("k", body.k, context.limits.k)
    served = context.served
    if body.user is not None:
        user = context.user(body.sequence, body.user)
        query, known = served.users.known(body.sequence, user)
    else:
        query, known = _embed_posted(context, body.sequence, body.events or [])
    target = served.catalog.tables.sequences[body.sequence].entity
    exclude = np.unique(known) if body.exclude_known else np.empty(0, np.uint32)
    allow = _allowed(context, target, body.where)
    scores, found = served.index.search(target, query[None], body.k, exclude=[exclude], allow=allow)
    latest = list(dict.fromkeys(known[::-1].tolist()))[:_NUM_KNOWN_SHOWN]
    return RecommendAnswer(
        results=context.hits(target, scores[0], found[0]), known=[context.ref(target, entity) for entity in latest]
    )


def _allowed(context: Context, entity_type: str, where: Where) -> NDArray[np.bool_] | None:
    """Which entities meet the conditions; None: all."""
    if not where:
        return None
    tables = context.served.catalog.tables
    columns = filterable(tables, entity_type)
    for column in where:
        if column not in columns:
            text = unknown_name(f"column of '{entity_type}'", column, list(columns))
            raise ApiError(404, "unknown_column", text, "see /v1/info for what there is")
    conditions = {
        column: condition.model_dump(exclude_none=True) if isinstance(condition, Range) else condition
        for column, condition in where.items()
    }
    try:
        return row_mask(tables, entity_type, conditions)
    except OmnisageError as error:
        raise ApiError(422, "unusable_condition", str(error), "see the entity's columns for values") from None


def _embed_posted(context: Context, sequence: str, events: list[Event]) -> tuple[NDArray[np.float32], Ids]:
    """A user's embedding from events, and the entities of these."""
    context.check_limit("number of events", len(events), context.limits.batch)
    users = context.served.users
    target = context.check_sequence(sequence)
    entities = np.array([context.entity(target, event.id) for event in events], np.uint32)
    return users.embed(sequence, entities, events), entities


def _checked_vector(context: Context, vector: list[float]) -> NDArray[np.float32]:
    if len(vector) != context.served.dim:
        text = f"vector has {len(vector):,} numbers; embeddings have {context.served.dim}"
        raise ApiError(422, "wrong_width", text, "send one of that width, such as /v1/embed or /v1/embeddings gives")
    return np.array(vector, np.float32)
