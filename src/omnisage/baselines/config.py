"""Config of the learned baselines: the section `baselines`.

By default they have the budget of `training` (steps, batches, learning rate, patience); `training` of a baseline replaces some
of it, so that each can be tuned.
"""

from typing import Annotated

from pydantic import Field

from omnisage.schema import ConfigModel

_Latest = Annotated[int, Field(ge=1, description="latest events of a user whose mean the user is")]


class ContentConfig(ConfigModel):
    """Content alone, untrained."""

    dim: Annotated[int, Field(ge=1, description="singular vectors kept")] = 256
    num_latest: _Latest = 10


class BaselinesConfig(ConfigModel):
    """Every baseline of `omnisage baseline`."""

    content: ContentConfig = ContentConfig()
