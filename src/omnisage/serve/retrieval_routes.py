"""Routes that find entities: similar ones, and recommendations for a user."""

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.serve.context import Context, Given
from omnisage.serve.errors import ApiError, ErrorBody
from omnisage.serve.retrieval import NO_IDS, Ids, nearest
from omnisage.serve.schemas import Event, RecommendAnswer, RecommendRequest, SimilarAnswer, SimilarRequest

router = APIRouter(prefix="/v1", tags=["retrieval"])

_NUM_KNOWN_SHOWN = 20


@router.post("/similar")
def similar(context: Given, body: SimilarRequest) -> SimilarAnswer:
    """Entities whose embeddings have the largest inner product with that of an entity, or with a vector."""
    target, exclude = body.to or body.type, NO_IDS
    if body.id is not None:
        dense = context.entity(body.type, body.id)
        query = np.array(context.served.embeddings.entities[body.type][dense])
        exclude = np.array([dense], np.uint32) if target == body.type else NO_IDS
    else:
        context.check_type(body.type)
        query = _checked_vector(context, body.vector or [])
    return SimilarAnswer(results=nearest(context, target, query, k=body.k, where=body.where, exclude=exclude))


@router.post("/recommend", responses={409: {"model": ErrorBody, "description": "this model knows no new users"}})
def recommend(context: Given, body: RecommendRequest) -> RecommendAnswer:
    """Entities for a user of the tables, or for one of whom you post the events."""
    served = context.served
    if body.user is not None:
        user = context.user(body.sequence, body.user)
        query = np.array(served.embeddings.users[body.sequence][user])
        known = served.catalog.history(body.sequence, user)
    else:
        query, known = _embed_posted(context, body.sequence, body.events or [])
    target = served.catalog.tables.sequences[body.sequence].entity
    exclude = np.unique(known) if body.exclude_known else NO_IDS
    latest = list(dict.fromkeys(known[::-1].tolist()))[:_NUM_KNOWN_SHOWN]
    return RecommendAnswer(
        results=nearest(context, target, query, k=body.k, where=body.where, exclude=exclude),
        known=[context.ref(target, entity) for entity in latest],
    )


def _embed_posted(context: Context, sequence: str, events: list[Event]) -> tuple[NDArray[np.float32], Ids]:
    """A user's embedding from events, and the entities of these."""
    context.check_limit("number of events", len(events), context.limits.batch)
    online, target = context.online(), context.check_sequence(sequence)
    entities = np.array([context.entity(target, event.id) for event in events], np.uint32)
    history = [
        {**event.model_dump(exclude_none=True), "id": context.served.catalog.external(target, entity)}
        for event, entity in zip(events, entities.tolist(), strict=True)
    ]
    try:
        return online.embed_users(sequence, [history])[0], entities
    except OmnisageError as error:
        raise ApiError(422, "unusable_event", str(error), "see /v1/info for actions and surfaces") from None


def _checked_vector(context: Context, vector: list[float]) -> NDArray[np.float32]:
    if len(vector) != context.served.dim:
        text = f"vector has {len(vector):,} numbers; embeddings have {context.served.dim}"
        raise ApiError(422, "wrong_width", text, "send one of that width, such as /v1/embeddings gives")
    with np.errstate(over="ignore"):
        query = np.array(vector, np.float32)
    if not np.isfinite(query).all():
        raise ApiError(422, "not_finite", "vector has numbers beyond float32", "send numbers of moderate size")
    return query
