"""`metrics.jsonl` and TensorBoard events of a run."""

import json
import os
from pathlib import Path
from typing import BinaryIO

from torch.utils.tensorboard import SummaryWriter


class MetricsLog:
    """Appends a line per logged step; what was logged after the step that a run goes on from is cut off."""

    def __init__(self, folder: Path | None, step: int):
        """Args: the folder of both files, None to log nothing (on all ranks but the first); and that step."""
        self._file = self._board = None
        if folder is None:
            return
        self._file = (folder / "metrics.jsonl").open("a+b")
        self._file.truncate(_num_kept_bytes(self._file, step))
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log some values of a step by name."""
        if self._file is None or self._board is None:
            return
        self._file.write(json.dumps({"step": step} | values).encode() + b"\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Bring all lines to the disk; a checkpoint that outlives a crash of the machine has them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Finish both files."""
        if self._file is not None and self._board is not None:
            self._file.close()
            self._board.close()


def _num_kept_bytes(file: BinaryIO, step: int) -> int:
    """Where the lines up to a step end. A crash of the machine may have cut the last line short: it is from later."""
    file.seek(0)
    num = 0
    for line in file:
        if not line.endswith(b"\n") or json.loads(line)["step"] > step:
            break
        num += len(line)
    return num
