"""What a process that died may have left of its work in a repository, and how it is put right.

Links in the work tree, staged entries and a pending index go: what they belong to was a commit
that no branch points at yet, if it was made at all; its contents stay. A branch move that was
under way is done again. Partial files stay until they are too old to be gone on with. An index that somebody deleted is written again from what liboxen restores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from syncd.clients import oxen_proof
from syncd.clients.oxen_index import Branches, CommitIndex, sync
from syncd.clients.oxen_repo import OxenRepository
from syncd.clients.spool import Spool
from syncd.errors import NotFoundError

LEFT = 3600.0  # seconds without a write, and nobody is at a temporary file any more


def heal(opened: OxenRepository, process: str) -> None:
    """Put a repository right that was just locked.

    Args:
        opened: the repository.
        process: how the names of this process's temporary files begin; others are, or were, other processes'.

    Raises:
        StoreLockedError: when liboxen is in use in another process; nothing was touched.
    """
    index = opened.index
    heads = opened.branches()  # first: this is what fails when another process is at work
    opened.rest()
    for temporary in index.tmp.glob("*"):
        if temporary.name.startswith(process) or temporary.is_dir():
            continue
        with suppress(FileNotFoundError):  # another process did it
            if temporary.stat().st_mtime < time.time() - LEFT:
                temporary.unlink()
    Spool(index.tmp, limit=0).tidy()  # what can be gone on with stays for some days
    index.pending.unlink(missing_ok=True)
    published = index.branches()
    if published is not None and published.moving:
        move(opened, heads, {n: c for n, c in published.moving.items() if index.holds(c)})
    elif published is None or published.heads != heads:
        index.write_branches(Branches(heads=heads))


def move(opened: OxenRepository, heads: Mapping[str, str], moving: Mapping[str, str]) -> None:
    """Point branches at commits, such that a kill in between is made good by `heal`.

    liboxen can only delete and create a branch (oxenai 0.65.1 has no call that moves one).

    Args:
        opened: the repository.
        heads: all branches as they are.
        moving: the branches to make or move.
    """
    opened.index.write_branches(Branches(heads=heads, moving=moving))
    opened.checkpoint("branch.intended")
    for name, commit in moving.items():
        if heads.get(name) != commit:
            opened.move_branch(name, commit)
    sync(opened.index.oxen)  # liboxen does not wait for the disk when it writes branches
    opened.checkpoint("branch.moved")
    opened.index.write_branches(Branches(heads=opened.branches()))


def rebuild(opened: OxenRepository, commit: str) -> None:
    """Write the index of a commit from what liboxen restores of it; slow, some ms a file.

    Raises:
        NotFoundError: when the repository has no such commit.
    """
    made = opened.commit_info(commit)
    if made is None:
        raise NotFoundError(f"{opened.index.repo}@{commit} does not exist")
    header = {
        "message": made.message,
        "author": made.author.name,
        "email": made.author.email,
        "parents": list(made.parents),
    }
    opened.index.write_pending(header, oxen_proof.restored(opened, commit))
    opened.index.adopt_pending(commit)
    opened.rest()


@contextmanager
def indexed(opened: OxenRepository, commit: str) -> Iterator[CommitIndex]:
    """The index of a commit, made again when it was lost."""
    found = opened.index.open(commit)
    if found is None:
        rebuild(opened, commit)
        found = CommitIndex(opened.index.index_path(commit))
    with found:
        yield found
