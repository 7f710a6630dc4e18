"""What the tests of training in real processes share."""

import pytest
from training_command import Command, link_workspace

from learning_world import Prepared


@pytest.fixture(scope="session")
def linked(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command in a workspace in which only training and what follows are missing; read only: copy it."""
    return link_workspace(prepared, tmp_path_factory.mktemp("linked") / "workspace")
