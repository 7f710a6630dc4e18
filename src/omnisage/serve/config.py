"""Config of the service."""

from typing import Annotated

from pydantic import Field

from omnisage.schema import ConfigModel

MAX_K, MAX_BATCH = 10_000, 100_000  # beyond any sensible limit; a schema needs a number


class LimitsConfig(ConfigModel):
    """What one request, and one client, may ask for."""

    body_bytes: Annotated[int, Field(gt=0, description="largest body of a request")] = 1 << 20
    k: Annotated[int, Field(gt=0, le=MAX_K, description="most results of a request")] = 1000
    batch: Annotated[int, Field(gt=0, le=MAX_BATCH, description="most ids, events or edges in one request")] = 1000
    requests_per_s: Annotated[
        float | None, Field(gt=0, description="of one client address, on average; none: not limited")
    ] = None
    burst: Annotated[int, Field(gt=0, description="requests that a client may make at once, within that average")] = 100


class ServeConfig(ConfigModel):
    """How `omnisage serve` answers; nothing here changes what it answers."""

    host: Annotated[str, Field(description="address to listen on; 0.0.0.0 for other machines, then with a token")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="0: any free one")] = 8000
    token_file: Annotated[
        str | None, Field(description="file with the bearer token that requests must bring, beside the config")
    ] = None
    reload_every_s: Annotated[
        float, Field(ge=0, description="how often to look for new embeddings; 0: only when asked to")
    ] = 5.0
    shutdown_s: Annotated[int, Field(gt=0, description="how long requests may take to finish when told to stop")] = 10
    limits: LimitsConfig = LimitsConfig()
