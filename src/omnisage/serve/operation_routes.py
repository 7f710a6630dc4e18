"""Routes for those who run the service: health, metrics, reload."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from omnisage.errors import OmnisageError
from omnisage.serve.errors import ApiError, ErrorBody
from omnisage.serve.holder import Holder
from omnisage.serve.metrics import Metrics

router = APIRouter(tags=["operation"])


class Status(BaseModel):
    """In a word."""

    status: str


class Reloaded(BaseModel):
    """What a reload did."""

    reloaded: bool = Field(description="false: what is served is what the workspace holds")
    embeddings: str = Field(description="sha256 of the manifest of the embeddings that are served now")


@router.get("/health")
def health() -> Status:
    """Whether the process answers."""
    return Status(status="ok")


@router.get("/ready", responses={503: {"model": ErrorBody, "description": "stopping"}})
def ready(request: Request) -> Status:
    """Whether requests are answered: from the moment the artifacts are open until the service is told to stop."""
    if request.app.state.stopping():
        raise ApiError(503, "stopping", "the service is shutting down", "ask another one")
    return Status(status="ready")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Counts and times of requests, in Prometheus' text format."""
    found: Metrics = request.app.state.metrics
    holder: Holder = request.app.state.holder
    found.set_served(holder.current.sha256, holder.current.loaded_at.timestamp(), holder.num_refused)
    return Response(found.text(), media_type="text/plain; version=0.0.4")


@router.post("/v1/reload", responses={409: {"model": ErrorBody, "description": "what is there cannot be served yet"}})
def reload(request: Request) -> Reloaded:
    """Serve what the workspace holds now. Requests that have begun finish with what they began with."""
    holder: Holder = request.app.state.holder
    try:
        reloaded = holder.reload()
    except OmnisageError as error:
        raise ApiError(409, "not_servable", str(error), "the old artifacts are served until then") from None
    return Reloaded(reloaded=reloaded, embeddings=holder.current.sha256)
