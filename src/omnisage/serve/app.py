"""The ASGI application: routes, errors, limits, metrics."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from omnisage import __version__
from omnisage.serve import entity_routes, retrieval_routes
from omnisage.serve.config import LimitsConfig
from omnisage.serve.errors import ErrorBody, add_error_handlers
from omnisage.serve.holder import Holder

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "not a request that can be read"},
    401: {"model": ErrorBody, "description": "the bearer token is missing or wrong"},
    404: {"model": ErrorBody, "description": "something that the request names does not exist"},
    413: {"model": ErrorBody, "description": "the body is larger than allowed"},
    422: {"model": ErrorBody, "description": "a field is missing, unknown, of the wrong type or beyond a limit"},
    429: {"model": ErrorBody, "description": "too many requests; Retry-After says when to try again"},
    500: {"model": ErrorBody, "description": "the service failed"},
}


def create_app(holder: Holder, limits: LimitsConfig) -> FastAPI:
    """The application over a state that may be replaced while it runs."""
    app = FastAPI(
        title="omnisage",
        version=__version__,
        summary="Embeddings of entities and users: nearest entities, recommendations, explanations",
        docs_url=None,  # its page would load from another host
        redoc_url=None,
        responses=_REFUSALS,
    )
    app.state.holder = holder
    app.state.limits = limits
    add_error_handlers(app)
    app.include_router(entity_routes.router)
    app.include_router(retrieval_routes.router)

    @app.get("/health", tags=["operation"])
    def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/ready", tags=["operation"], responses={503: {"model": ErrorBody}})
    def ready() -> JSONResponse:
        """Whether requests are answered."""
        return JSONResponse({"status": "ready"})

    return app
