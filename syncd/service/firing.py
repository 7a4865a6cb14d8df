"""The daemon's thread that tells triggers: what it waits for holds up nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from syncd import log
from syncd.deployment import triggers
from syncd.errors import TransientError
from syncd.runtime import Runtime

LOOK = 2.0  # seconds between two looks


class Firer:
    """Tells triggers until it is stopped.

    Args:
        runtime: open clients; may be exchanged for one with another configuration.
        died: told when the thread ends by a failure that nobody expected.
        look: seconds between two looks.
    """

    def __init__(
        self, runtime: Runtime, died: Callable[[BaseException], None], *, look: float = LOOK
    ) -> None:
        self.runtime = runtime
        self._died, self._look = died, look
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="triggers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing any more; what is being told is told again by the next process."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self._look):
                try:
                    triggers.fire(
                        self.runtime.catalog,
                        self.runtime.config,
                        going=lambda: not self._stopped.is_set(),
                    )
                except TransientError as error:  # the catalog is away
                    log.get().warning(log.Life.CALL_RETRIED, error=str(error), hint=error.hint)
        except BaseException as error:  # noqa: BLE001 the process must not go on without it
            self._died(error)
