"""Commands that use the embeddings: `serve`, `explorer` and `explain`; nothing heavy is imported until one runs."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omnisage.errors import OmnisageError
from omnisage.place import Force, Place
from omnisage.terminal import print_outcomes


def serve(place: Place, *, host: str | None = None, port: int | None = None, token_file: Path | None = None) -> None:
    """Answer over HTTP: similar entities, recommendations, explanations, and a page to look at them all.

    Serves the finished artifacts of the workspace, and newer ones as soon as they are complete. Settings are in the
    section `serve` of the config; `docs/service.md` describes every endpoint.

    Example: `omnisage serve omnisage.yaml`, then open http://127.0.0.1:8000/

    Args:
        host: Address to listen on, instead of the config's.
        port: Port to listen on, instead of the config's.
        token_file: File with the bearer token that requests must bring, instead of the config's.
    """
    job = place.job()
    try:
        from omnisage.serve.server import make_server
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("omnisage"):
            raise
        raise OmnisageError(f"{missing.name} is not installed; run `pip install 'omnisage[serve]'`") from None
    token = None if token_file is None else str(token_file.absolute())
    given = {"host": host, "port": port, "token_file": token}
    config = job.config.serve.model_copy(update={name: value for name, value in given.items() if value is not None})
    # While a reload computes, requests get their turn five times as often as Python would give it.
    sys.setswitchinterval(0.001)
    overrides = [option for override in place.overrides for option in ("--set", override)]
    server = make_server(
        config,
        name=job.config.name,
        workspace=job.workspace,
        base=job.base,
        num_threads=job.num_threads,
        make_explorer=["explorer", str(place.config.absolute()), "--workspace", str(job.workspace), *overrides],
    )
    server.run()


def explorer(place: Place, *, force: Force = False) -> None:
    """Make the map of all entities and the health report, which the page of `omnisage serve` shows.

    The service does this by itself when they are missing. Reads `tables/` and `embeddings/`; writes `explorer/`.

    Example: `omnisage explorer omnisage.yaml`
    """
    from omnisage.explorer_command import run_explorer

    print_outcomes([run_explorer(place.job(), force=force)])


def explain(
    place: Place,
    entity_type: str,
    entity_id: str,
    *,
    to: Annotated[
        tuple[str, str] | None, Parameter(help="Type and id of a second entity: why the two are near.")
    ] = None,
) -> None:
    """Say what an entity's embedding is made of, or why two entities are near.

    Of one entity: how much it attends to its own features and to each neighbor, with their importance and the
    relations that link them. Of two: their score, the neighbors and values that both have, and short paths.

    Example: `omnisage explain omnisage.yaml movie 1 --to movie 50`

    Args:
        entity_type: The entity's type.
        entity_id: Its id, as it stands in its table.
    """
    from omnisage.explain_command import print_explanation

    print_explanation(place.job().workspace, (entity_type, entity_id), to)
