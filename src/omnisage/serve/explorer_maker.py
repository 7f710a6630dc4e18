"""Has the map and the health report made when they are missing.

They are made by `omnisage explorer` in a process of its own: it computes for seconds to minutes, and takes its memory
with it when it ends.
"""

import asyncio
import logging
import os
import sys

from omnisage.serve.holder import Holder

_log = logging.getLogger("omnisage.serve")

_LOOK_EVERY_S = 2.0
_NO_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # the other cores are for requests


class ExplorerMaker:
    """Has them made, once for each version of the embeddings."""

    def __init__(self, arguments: list[str]) -> None:
        """Args: those of `omnisage`."""
        self._command = [sys.executable, "-m", "omnisage", *arguments]
        self._tried: str | None = None

    async def keep(self, holder: Holder) -> None:
        """Make what is missing, again and again; ends when it is cancelled, and the process with it."""
        while True:
            served = holder.current
            if served.explorer.get() is None and served.sha256 != self._tried:
                self._tried = served.sha256
                try:
                    await self._make()
                except OSError as error:
                    _log.warning("the map and the health report could not be made: %s", error)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _make(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=os.environ | _NO_THREADS,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if process.returncode != 0:
            _log.warning("the map and the health report could not be made: %s", said.decode(errors="replace").strip())
