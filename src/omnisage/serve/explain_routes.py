"""The route that says why."""

from fastapi import APIRouter

from omnisage.explain import Evidence, Explanation
from omnisage.model.explain import is_explained
from omnisage.serve.context import Context, Given
from omnisage.serve.errors import ApiError, ErrorBody
from omnisage.serve.schemas import (
    ExplainAnswer,
    ExplainRequest,
    NeighborShare,
    OwnShare,
    PathStep,
    Shared,
    SharedFeature,
    SharedNeighbor,
)

router = APIRouter(prefix="/v1", tags=["explanation"])


@router.post("/explain", responses={409: {"model": ErrorBody, "description": "this model's weights do not say it"}})
def explain(context: Given, body: ExplainRequest) -> ExplainAnswer:
    """What an entity's embedding attends to, exactly as it was made; with `to`, why two entities are near."""
    explainer = context.served.explainer
    if not is_explained(explainer.trained.config):
        text = "only a transformer of one layer has weights that say what embeddings read"
        raise ApiError(409, "not_explained", text, "train with model.aggregator: transformer and num_layers: 1")
    entity = body.type, context.entity(body.type, body.id)
    answer = _weights(context, explainer.explain(*entity))
    if body.to is not None:
        other = body.to.type, context.entity(body.to.type, body.to.id)
        _add_evidence(context, answer, explainer.compare(entity, other))
        answer.to = context.ref(*other)
    return answer


def _weights(context: Context, explained: Explanation) -> ExplainAnswer:
    return ExplainAnswer(
        entity=context.ref(explained.type, explained.entity),
        heads=explained.num_heads,
        self_weight=explained.self_weight,
        own=[OwnShare(feature=own.feature, weight=own.weight) for own in explained.own],
        neighbors=[
            NeighborShare(
                **dict(context.ref(near.type, near.entity)),
                weight=near.weight,
                importance=near.importance,
                relations=list(near.relations),
                walk=list(near.walk),
            )
            for near in explained.neighbors
        ],
    )


def _add_evidence(context: Context, answer: ExplainAnswer, found: Evidence) -> None:
    answer.score = found.score
    answer.shared = Shared(
        neighbors=[
            SharedNeighbor(**dict(context.ref(near.type, near.entity)), weight_a=near.weight_a, weight_b=near.weight_b)
            for near in found.neighbors
        ],
        features=[SharedFeature(column=feature.column, value=feature.value) for feature in found.features],
    )
    answer.paths = [
        [PathStep(**dict(context.ref(step.type, step.entity)), relations=list(step.relations)) for step in path]
        for path in found.paths
    ]
