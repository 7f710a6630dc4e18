"""Stage 6: what answers "which entities are nearest to this vector?" (`docs/formats.md`, index)."""

from omnisage.index.artifact import Index, open_index

__all__ = ["Index", "open_index"]
