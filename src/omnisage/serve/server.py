"""Runs the service: a uvicorn server over the artifacts of a workspace. Command: `omnisage serve`."""

from pathlib import Path

import uvicorn

from omnisage.errors import OmnisageError
from omnisage.serve.app import create_app
from omnisage.serve.config import ServeConfig
from omnisage.serve.explorer_maker import ExplorerMaker
from omnisage.serve.holder import Holder
from omnisage.serve.page import mount_page
from omnisage.serve.state import open_served

_MIN_TOKEN = 16  # characters; fewer can be guessed
_LOCAL = ("127.0.0.1", "localhost", "::1")


def make_server(
    config: ServeConfig,
    *,
    name: str,
    workspace: Path,
    base: Path,
    num_threads: int = 1,
    make_explorer: list[str] | None = None,
    page: Path | None = None,
) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        config: the section `serve` of the config.
        name: of the config.
        workspace: what to serve.
        base: the folder that paths of the config are relative to.
        num_threads: of a search.
        make_explorer: the arguments of `omnisage` that make the map and the health report; None: nobody does.
        page: folder of the built page; None: that of the package.

    Raises:
        OmnisageError: the workspace cannot be served, or the token cannot be read.
    """
    token = None if config.token_file is None else _read_token(base / config.token_file)
    if token is None and config.host not in _LOCAL:
        raise OmnisageError(
            f"serve.host is {config.host}, which other machines can reach, and there is no token; "
            "set serve.token_file (or --token-file), or serve at 127.0.0.1"
        )
    holder = Holder(lambda: open_served(name, workspace, base=base, num_threads=num_threads))
    maker = None if make_explorer is None else ExplorerMaker(make_explorer)
    app = create_app(holder, config, token=token, maker=maker)
    mount_page(app, page)
    settings = uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        timeout_graceful_shutdown=config.shutdown_s,
        access_log=False,
        server_header=False,
        http="httptools",  # knows the methods of HTTP alone, so that metrics have no more labels
    )
    server = uvicorn.Server(settings)
    app.state.stopping = lambda: server.should_exit
    return server


def _read_token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OmnisageError(f"serve.token_file: {path} cannot be read ({error}); write the token into it") from None
    if len(token) < _MIN_TOKEN or not token.isascii() or any(character.isspace() for character in token):
        raise OmnisageError(
            f"serve.token_file: {path} must hold one word of at least {_MIN_TOKEN} ASCII characters; make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
        )
    return token
