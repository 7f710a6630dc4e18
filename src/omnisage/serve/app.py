"""The ASGI application: routes, errors, limits, metrics."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from omnisage import __version__
from omnisage.serve import (
    embedding_routes,
    entity_routes,
    explain_routes,
    explorer_routes,
    operation_routes,
    retrieval_routes,
)
from omnisage.serve.config import ServeConfig
from omnisage.serve.errors import ErrorBody, add_error_handlers
from omnisage.serve.explorer_maker import ExplorerMaker
from omnisage.serve.guard import Guard
from omnisage.serve.holder import Holder
from omnisage.serve.metrics import Measured, Metrics

_log = logging.getLogger("omnisage.serve")

_ROUTES = (entity_routes, retrieval_routes, embedding_routes, explain_routes, explorer_routes, operation_routes)
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "not a request that can be read"},
    401: {"model": ErrorBody, "description": "the bearer token is missing or wrong"},
    404: {"model": ErrorBody, "description": "something that the request names does not exist"},
    413: {"model": ErrorBody, "description": "the body is larger than allowed"},
    422: {"model": ErrorBody, "description": "a field is missing, unknown, of the wrong type or beyond a limit"},
    429: {"model": ErrorBody, "description": "too many requests; Retry-After says when to try again"},
    500: {"model": ErrorBody, "description": "the service failed"},
}


def create_app(
    holder: Holder, config: ServeConfig, *, token: str | None = None, maker: ExplorerMaker | None = None
) -> FastAPI:
    """The application over a state that may be replaced while it runs.

    Args:
        holder: the state.
        config: limits, and how often to look for a newer state.
        token: what requests must bring; None: nothing.
        maker: what makes the map and the health report when they are missing.
    """
    app = FastAPI(
        title="omnisage",
        version=__version__,
        summary="Embeddings of entities and users: nearest entities, recommendations, explanations",
        docs_url=None,  # its page would load from another host
        redoc_url=None,
        responses=_REFUSALS,
        lifespan=_watching,
    )
    app.state.holder = holder
    app.state.config = config
    app.state.maker = maker
    app.state.metrics = Metrics()
    app.state.stopping = lambda: False
    add_error_handlers(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=config.limits.body_bytes)  # counts what comes
    app.add_middleware(Guard, limits=config.limits, token=token)
    app.add_middleware(Measured, metrics=app.state.metrics)
    for routes in _ROUTES:
        app.include_router(routes.router)
    return app


@asynccontextmanager
async def _watching(app: FastAPI) -> AsyncGenerator[None]:
    """Look for newer artifacts, and have the map made, while the application runs."""
    tasks = [asyncio.create_task(_watch(app))] if app.state.config.reload_every_s else []
    if app.state.maker is not None:
        tasks.append(asyncio.create_task(app.state.maker.keep(app.state.holder)))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(app: FastAPI) -> None:
    while True:
        await asyncio.sleep(app.state.config.reload_every_s)
        try:
            await asyncio.to_thread(app.state.holder.reload_if_new)
        except Exception:  # whatever it was, the next look may find what can be served
            _log.exception("looking for newer artifacts failed; it is tried again")
