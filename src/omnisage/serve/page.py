"""The page that explores the embeddings: built files that lie in the package."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_STATIC = Path(__file__).parent / "static"
_HEADERS = {
    # The page loads nothing from elsewhere, and nobody may frame it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _Page(StaticFiles):
    """Files of one folder and none outside it; `/` is `index.html`."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        # Built files have their hash in their name; the page that names them does not.
        is_built = path.startswith("assets/") and response.status_code == 200
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_built else "no-cache"
        return response


class _PageRoute(Mount):
    """All paths but those of the interface, whose own routes say what is wrong with a request."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["path"].startswith("/v1/"):
            return Match.NONE, {}
        return super().matches(scope)


def mount_page(app: FastAPI, folder: Path | None = None) -> None:
    """Serve the page at `/`, if it was built; after all other routes, which would be hidden otherwise."""
    folder = folder or _STATIC
    if (folder / "index.html").is_file():
        app.router.routes.append(_PageRoute("/", app=_Page(directory=folder, html=True), name="page"))
