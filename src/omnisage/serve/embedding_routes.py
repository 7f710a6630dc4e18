"""Routes that give vectors: of entities by id, and of new ones."""

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Header, Response

from omnisage.errors import OmnisageError
from omnisage.serve.arrow import ARROW, accepts_arrow, arrow_response
from omnisage.serve.context import Given
from omnisage.serve.errors import ApiError, ErrorBody
from omnisage.serve.retrieval import nearest
from omnisage.serve.schemas import EmbedAnswer, EmbeddingRow, EmbeddingsAnswer, EmbeddingsRequest, EmbedRequest

router = APIRouter(prefix="/v1", tags=["embeddings"])

_ALSO_ARROW: dict[int | str, dict[str, Any]] = {
    200: {"content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}, "description": "as Accept says"}
}


@router.post("/embed", responses={409: {"model": ErrorBody, "description": "this model knows no new entities"}})
def embed(context: Given, body: EmbedRequest) -> EmbedAnswer:
    """The embedding of an entity that the tables do not have, as `omnisage run` would give it if they had."""
    context.check_type(body.type)
    num_edges = sum(len(ends) for ends in body.edges.values())
    context.check_limit("number of edges", num_edges, context.limits.batch)
    record = {
        "features": body.features,
        "edges": {
            relation: [list(end) if isinstance(end, tuple) else end for end in ends]
            for relation, ends in body.edges.items()
        },
    }
    try:
        vector = context.online().embed_entities(body.type, [record])[0]
    except OmnisageError as error:
        raise ApiError(422, "unusable_record", str(error), "see docs/service.md for what a record holds") from None
    answer = EmbedAnswer(embedding=vector.tolist())
    if body.similar is not None:
        wanted = body.similar
        answer.similar = nearest(context, wanted.to, vector, k=wanted.k, where=wanted.where)
    return answer


@router.post("/embeddings", response_model=EmbeddingsAnswer, responses=_ALSO_ARROW)
def embeddings(
    context: Given, body: EmbeddingsRequest, accept: Annotated[str, Header()] = "application/json"
) -> EmbeddingsAnswer | Response:
    """Embeddings of entities, in the order asked for; as an Arrow stream (`id`, `embedding`) if `Accept` says so."""
    context.check_limit("number of ids", len(body.ids), context.limits.batch)
    context.check_type(body.type)
    rows = np.array([context.entity(body.type, id_) for id_ in body.ids], np.int64)
    vectors = np.ascontiguousarray(context.served.embeddings.entities[body.type][rows])
    ids = context.served.catalog.ids[body.type].external.take(pa.array(rows))
    if accepts_arrow(accept):
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), context.served.dim)
        table = pa.table({"id": ids, "embedding": flat})
        return arrow_response(table.replace_schema_metadata({"embeddings": context.served.sha256}))
    found = zip(ids.to_pylist(), vectors.tolist(), strict=True)
    return EmbeddingsAnswer(
        type=body.type,
        embeddings=context.served.sha256,
        rows=[EmbeddingRow(id=id_, embedding=vector) for id_, vector in found],
    )
