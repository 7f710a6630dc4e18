"""What most commands begin with: a config file, changes to it, and the folder of the artifacts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omnisage.pipeline import Job

Force = Annotated[
    bool, Parameter(negative="", show_default=False, help="Run even what is up to date, from the beginning.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Which config, with which changes, in which workspace."""

    config: Annotated[Path, Parameter(help="The config file, such as omnisage.yaml.")]
    overrides: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative="",
            show_default=False,
            help="Replace a field of the config: --set training.num_steps=500. May be given again.",
        ),
    ] = field(default=(), kw_only=True)
    workspace: Annotated[
        Path | None,
        Parameter(help="Folder of the artifacts. Default: workspace/ beside the config file."),
    ] = field(default=None, kw_only=True)

    def job(self) -> Job:
        """The config as read, with its folders."""
        from omnisage.config import load_config

        config = load_config(self.config, self.overrides)
        base = self.config.absolute().parent
        return Job(config, base, self.workspace.absolute() if self.workspace else base / "workspace")
