"""`metrics.jsonl` and TensorBoard events of a run."""

import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class MetricsLog:
    """Appends a line per logged step; what was logged after the step that a run goes on from is cut off."""

    def __init__(self, folder: Path, step: int):
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        # A crash of the machine may have cut the last line short; it is from after the checkpoint.
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept))
        self._file = path.open("a")
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log some values of a step by name."""
        self._file.write(json.dumps({"step": step} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish both files."""
        self._file.close()
        self._board.close()
