"""Config of the map and the health report."""

from typing import Annotated

from pydantic import Field

from omnisage.schema import ConfigModel


class ExplorerConfig(ConfigModel):
    """How much is computed for the page."""

    max_projected: Annotated[
        int, Field(ge=20, description="entities placed by the projection itself; others beside those nearest to them")
    ] = 50_000
    num_sampled: Annotated[int, Field(ge=20, description="entities of a type that the health report looks at")] = 2000
