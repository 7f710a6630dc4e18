"""A server over a workspace, in a thread of this process, and a client that speaks HTTP with it over loopback."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx

from learning_world import TINY
from omnisage.serve.config import ServeConfig
from omnisage.serve.server import make_server

OVERRIDES = [
    *TINY,
    "training.num_steps=2",
    "evaluation.num_bootstrap=100",
    "evaluation.num_random_candidates=20",
]
"""What the run that is served changes in the world's config."""


@contextmanager
def serving(workspace: Path, *, page: Path | None = None, **settings: Any) -> Generator[httpx.Client]:
    """Serve a workspace on a free port until the block ends.

    Args:
        page: folder of the built page, instead of the package's.
        settings: fields of `ServeConfig`.
    """
    config = ServeConfig(**({"port": 0, "reload_every_s": 0} | settings))
    server = make_server(config, name="world", workspace=workspace, base=workspace.parent, page=page)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it began"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def similar(client: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    """The results of `/v1/similar`."""
    answer = client.post("/v1/similar", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that is an error, which must be typed."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "remedy"}
    assert "Traceback" not in answer.text
    return answer.status_code, error["code"]
