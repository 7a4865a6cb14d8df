"""The program syncd, which a signal ends when it commits one version, as liboxen might."""

from __future__ import annotations

import os
import sys
from typing import Any

from syncd.cli.main import main
from syncd.clients.oxen_local import EmbeddedVersionStore

DEADLY = os.environ["MORTAL_VERSION"]  # ends the name of the version in the commit's message
SIGNAL = int(os.environ["MORTAL_SIGNAL"])
_commit = EmbeddedVersionStore.commit


def _mortal(self: EmbeddedVersionStore, *arguments: Any, message: str, **named: Any) -> Any:
    if f"{DEADLY}\n" in message:
        os.kill(os.getpid(), SIGNAL)
    return _commit(self, *arguments, message=message, **named)


if __name__ == "__main__":
    EmbeddedVersionStore.commit = _mortal  # type: ignore[method-assign]
    sys.exit(main())
