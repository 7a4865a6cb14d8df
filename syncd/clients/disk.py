"""The operating system's failures with files as ours, in one place."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncd.errors import DiskFullError, PermanentError, SyncdError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
HINT = "Check free space, permissions and the disk, then run again."


def translated(error: OSError, what: str, *, hint: str = HINT) -> SyncdError:
    """A failure as one of ours: a full disk is waited for, every other reason is final.

    Args:
        error: the operating system's.
        what: what failed then, e.g. `cannot write to the spool`.
        hint: the next step, where it is not that the disk is full.
    """
    if error.errno in NO_ROOM:
        return DiskFullError(f"{what}: {error.strerror}")
    return PermanentError(f"{what}: {error.strerror or error}", hint=hint)


@contextmanager
def disk(what: str, *, hint: str = HINT) -> Iterator[None]:
    """Turn an OSError within the block into one of ours; see `translated`.

    Raises:
        DiskFullError: when there is no room.
        PermanentError: for every other reason.
    """
    try:
        yield
    except OSError as error:
        raise translated(error, what, hint=hint) from error


def private_folder(folder: Path) -> None:
    """Make a folder that nobody else on this machine may look into; one that is there stays as it is.

    Names of projects and people, and payload on its way, lie in there.

    Raises:
        OSError: when it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
