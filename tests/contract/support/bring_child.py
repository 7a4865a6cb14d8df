"""A process that brings a content into an embedded store and stops for ever before a byte.

    bring_child.py ROOT SIZE BYTE

At BYTE it prints a line; the parent kills it with SIGKILL.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from contract_contents import Bytes, noise
from contract_files import REPO

from syncd.clients.oxen_local import EmbeddedVersionStore


def main(root: str, size: str, byte: str) -> None:
    """Do it."""

    def watch(begin: int) -> None:
        if begin >= int(byte):
            sys.stderr.write("reached\n")
            sys.stderr.flush()
            time.sleep(600)

    EmbeddedVersionStore(Path(root)).bring(REPO, [Bytes(data=noise(int(size)), watch=watch)])


if __name__ == "__main__":
    main(*sys.argv[1:])
