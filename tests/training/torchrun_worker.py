"""What torchrun starts in `test_torchrun.py`: the command, whose first process stops where the test wants it to.

Before the checkpoint of a step it waits for as long as a file is there: so a test knows where it is killed, in the
middle of work that no checkpoint has. `PAUSES` is JSON: by number of processes, the step and the file.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from omnisage import cli


class Pause:
    """Waits before the checkpoint of a step gets its name."""

    def __init__(self, step: int, file: Path):
        self.step, self.file = step, file

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "os.rename" or Path(str(arguments[0])).name != "checkpoint.safetensors.tmp":
            return
        log = Path(str(arguments[0])).parents[1] / "metrics.jsonl"
        if json.loads(log.read_text().splitlines()[-1])["step"] != self.step:
            return
        self.file.with_suffix(".reached").touch()
        while self.file.exists():
            time.sleep(0.05)


if __name__ == "__main__":
    pause = json.loads(os.environ["PAUSES"]).get(os.environ["WORLD_SIZE"])
    if pause is not None and os.environ["RANK"] == "0":
        sys.addaudithook(Pause(pause[0], Path(pause[1])))
    cli.main()
