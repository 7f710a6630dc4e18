"""Runs the service: a uvicorn server over the artifacts of a workspace. Command: `omnisage serve`."""

from pathlib import Path

import uvicorn

from omnisage.serve.app import create_app
from omnisage.serve.config import ServeConfig
from omnisage.serve.holder import Holder
from omnisage.serve.state import open_served


def serve(config: ServeConfig, *, name: str, workspace: Path, num_threads: int) -> None:
    """Serve until told to stop, by Ctrl-C or SIGTERM; requests that have begun are finished.

    Raises:
        OmnisageError: the workspace cannot be served.
    """
    holder = Holder(lambda: open_served(name, workspace, num_threads=num_threads))
    app = create_app(holder, config.limits)
    settings = uvicorn.Config(
        app, host=config.host, port=config.port, timeout_graceful_shutdown=config.shutdown_s, access_log=False
    )
    uvicorn.Server(settings).run()
