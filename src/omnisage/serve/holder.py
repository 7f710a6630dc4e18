"""The state that requests read, and its replacement by a newer one while they run."""

import logging
import threading
from collections.abc import Callable

from omnisage.errors import OmnisageError
from omnisage.serve.state import Served, version_of

_log = logging.getLogger("omnisage.serve")


class Holder:
    """Holds the current `Served`. A request takes it once and keeps it, so that a reload disturbs none."""

    def __init__(self, open_state: Callable[[], Served]) -> None:
        """Open the first state.

        Raises:
            OmnisageError: the workspace cannot be served.
        """
        self._open = open_state
        self._lock = threading.Lock()
        self._current = open_state()
        self._version = self._current.version
        self.num_refused = 0  # attempts that left the old state
        self._refused: str | None = None  # a version that could not be opened, and is not tried again

    @property
    def current(self) -> Served:
        """What to answer from."""
        return self._current

    def reload(self) -> bool:
        """Open the workspace again if it holds something else; the old state stays until the new one is whole.

        Returns:
            Whether there is a new state.

        Raises:
            OmnisageError: what is there cannot be served; the old state stays.
        """
        with self._lock:
            version = version_of(self._current.workspace)
            if version == self._version:
                return False
            try:
                opened = self._open()
            except OmnisageError:
                self.num_refused += 1
                raise
            except (OSError, ValueError) as error:  # files that are being replaced; Arrow's errors are among these
                self.num_refused += 1
                raise OmnisageError(f"{self._current.workspace} was changed while it was opened ({error})") from error
            self._current, self._version = opened, opened.version
            _log.info("serving embeddings %s", opened.sha256[:12])
            return True

    def reload_if_new(self) -> bool:
        """`reload`, for those who look again and again: what cannot be served is reported once."""
        version = version_of(self._current.workspace)
        if version is None or version in (self._version, self._refused):
            return False
        try:
            return self.reload()
        except OmnisageError as error:
            if error.__cause__ is None:  # and not what a moment later may be whole
                self._refused = version
            _log.warning("the new artifacts cannot be served yet, the old ones are: %s", error)
            return False
