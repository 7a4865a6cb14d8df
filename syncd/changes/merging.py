"""Merging: what a version would change on the main branch, and making it so.

A version's tree is complete, so a merge looks at three trees: the version's, the main branch's, and
that of the latest commit which both come from. What only one side changed is taken from it; what
both made the same is the same. Where both changed a file to different contents, nothing is done.
Where the main branch has nothing of its own, it is moved to the version's commit as it is.

A merge that makes a commit names what was merged in a trailer, because stores make commits with one
parent (`ancestry`). No commit is lost: branches only ever move to what comes from where they were.
syncd's own files (`.syncd/`) are no reason for a conflict: they tell of the version that was merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import itemgetter

from syncd.blocks import Blocks, Builder, Row, paired
from syncd.changes.difference import RESERVED, Difference, compare
from syncd.clients.commits import Author, Commit
from syncd.clients.oxen_paths import files_and_folders
from syncd.clients.protocols import VersionStore
from syncd.errors import MergeConflictError, NotFoundError, UsageError
from syncd.refs import ArtifactRef, CommitRef
from syncd.stages.commit import LINE
from syncd.versions.ancestry import MERGED, descends, relation
from syncd.versions.trees import PackedTree

SHOWN = 5  # paths in an error
_path = itemgetter(0)


class State(StrEnum):
    """What a merge would be."""

    MERGED = "already merged"
    NEW = "new branch"  # there is none of this name yet
    FORWARD = "fast-forward"  # the branch has nothing of its own
    MERGE = "merge"  # a commit with what both have
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What merging a commit into a branch would do.

    Args:
        candidate: the commit.
        into: the branch.
        head: where the branch is; None when there is none.
        base: the latest commit both come from, None when there is none.
        ahead: commits that the branch lacks.
        behind: commits of the branch that the candidate lacks.
        state: what it would be.
        tree: rows of path, hash and bytes: what the branch would hold.
        conflicts: rows of path and reason, sorted by path.
        difference: what the branch would hold, against what it holds.
    """

    candidate: Commit
    into: str
    head: Commit | None
    base: str | None
    ahead: int
    behind: int
    state: State
    tree: Blocks
    conflicts: Blocks
    difference: Difference

    def outcome(self, made: CommitRef) -> State:
        """What the merge was that ended with this commit: one was made, or the branch just moved."""
        just_moved = made == self.candidate.ref or self.state is State.MERGED
        return self.state if just_moved else State.MERGE


def review(store: VersionStore, candidate: CommitRef, into: str, *, theirs: bool = False) -> Review:
    """Find out what a merge would do; nothing is changed.

    Args:
        store: Oxen.
        candidate: the commit to be merged.
        into: the branch.
        theirs: whether the candidate's file counts where both sides changed it.

    Raises:
        UsageError: when the branch is a version's own.
        NotFoundError: when the commit does not exist.
    """
    if "wandb" in into.split("/")[:-1]:
        raise UsageError(
            f"{into} stands for a version and never moves", hint="Name another branch."
        )
    commit = store.resolve(candidate.repo, candidate.commit)
    if commit is None:
        raise NotFoundError(f"{candidate} does not exist")
    head = store.resolve(candidate.repo, into)
    base, ahead, behind = None, 0, 0
    if head is not None:
        found = relation(store, candidate.repo, head.ref.commit, candidate.commit)
        base, ahead, behind = found.base, found.ahead, found.behind
    conflicts = Builder().build()
    if head is None:
        state = State.NEW
    elif base == candidate.commit:
        state = State.MERGED
    elif base == head.ref.commit and descends(
        store, candidate.repo, candidate.commit, base, merges=False
    ):
        # In Oxen's own history: what only a message names would be on no branch any more.
        state = State.FORWARD
    else:
        state = State.MERGE
    if head is not None and state is State.MERGE:
        old = CommitRef(repo=candidate.repo, commit=base) if base else None
        tree, conflicts = three_way(
            _rows(store, old),
            _rows(store, head.ref),
            _rows(store, candidate),
            prefer_theirs=theirs,
        )
        state = State.CONFLICT if len(conflicts) else state
    else:
        tree = _packed(_rows(store, head.ref if head and state is State.MERGED else candidate))
    return Review(
        candidate=commit,
        into=into,
        head=head,
        base=base,
        ahead=ahead,
        behind=behind,
        state=state,
        tree=tree,
        conflicts=conflicts,
        difference=compare(_public(_rows(store, head.ref if head else None)), _public(tree)),
    )


def merge(
    store: VersionStore,
    reviewed: Review,
    *,
    author: Author,
    now: datetime,
    message: str | None = None,
) -> CommitRef:
    """Do what a review says; where the branch is then. Merged already, it stays where it is.

    Args:
        store: Oxen; the caller sees to it that nobody else writes in the repository.
        reviewed: what to do.
        author: who does it.
        now: when, UTC.
        message: what the merge's commit says; a commit is made then also where none is needed.

    Raises:
        MergeConflictError: when both sides changed the same files, or the branch has moved since.
    """
    candidate, head = reviewed.candidate, reviewed.head
    repo = candidate.ref.repo
    if reviewed.state is State.CONFLICT:
        raise _conflict(reviewed)
    now_at = store.resolve(repo, reviewed.into)
    if (now_at and now_at.ref) != (head and head.ref):
        raise MergeConflictError(
            f"branch {reviewed.into} of {repo} moved meanwhile", hint="Run the same command again."
        )
    if head is not None and reviewed.state is State.MERGED:
        return head.ref
    # What is at the branch must say whose line it is, or the next version finds a stranger's commit.
    named = "Wandb-Artifact" in candidate.trailers
    if reviewed.state in {State.NEW, State.FORWARD} and message is None and named:
        store.set_branch(candidate.ref, reviewed.into)
        return candidate.ref
    return store.commit(
        repo,
        branch=reviewed.into,
        tree=PackedTree(reviewed.tree),
        message=_message(reviewed, author, now, message),
        author=author,
    )


def _message(reviewed: Review, author: Author, now: datetime, message: str | None) -> str:
    candidate, head = reviewed.candidate, reviewed.head
    version = candidate.trailers.get("Wandb-Artifact")
    subject = message or f"Merge {version or candidate.ref.commit} into {reviewed.into}"
    lines = {
        LINE: _newest(candidate, head) or "",
        MERGED: candidate.ref.commit,
        "Wandb-Merged-By": f"{author.name} <{author.email}>",
        "Wandb-Merged-At": now.isoformat(timespec="seconds"),
    }
    told = [f"{key}: {' '.join(value.split())}" for key, value in lines.items() if value]
    return "\n".join([" ".join(subject.split()), "", *told])


def _newest(candidate: Commit, head: Commit | None) -> str | None:
    """The newest version that went into a merge, by its number."""
    found = []
    for commit in (candidate, head):
        said = commit.trailers if commit else {}
        named = said.get("Wandb-Artifact") or said.get(LINE)
        if named:
            found.append(named)
    return max(found, key=lambda name: ArtifactRef.parse(name).index or 0, default=None)


def _conflict(reviewed: Review) -> MergeConflictError:
    rows = reviewed.conflicts
    shown = [f"{row[0]} ({row[1]})" for row in (rows.at(n) for n in range(min(len(rows), SHOWN)))]
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return MergeConflictError(
        f"{reviewed.candidate.ref} and {reviewed.into} changed the same files: "
        f"{', '.join(shown)}{more}"
    )


def _rows(store: VersionStore, commit: CommitRef | None) -> Iterator[Row]:
    for entry in store.tree(commit) if commit else ():
        yield entry.path, entry.hash, entry.size


def _packed(rows: Iterable[Row]) -> Blocks:
    builder = Builder()
    builder.extend(rows)
    return builder.build()


def _own(path: str) -> bool:
    return RESERVED in path.split("/")[:-1]


def _public(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in rows if not _own(row[0]))


def three_way(
    base: Iterable[Row], ours: Iterable[Row], theirs: Iterable[Row], *, prefer_theirs: bool = False
) -> tuple[Blocks, Blocks]:
    """Merge two trees that come from a third.

    Args:
        base: rows of path, hash and bytes, sorted by path.
        ours: the branch's.
        theirs: the candidate's.
        prefer_theirs: whether theirs count where both changed a file.

    Returns:
        The merged tree, and rows of path and reason where it cannot be told.
    """
    tree, conflicts = Builder(), Builder()
    sides = paired(base, ours, _path, _path)
    for pair, their in paired(sides, theirs, _path_of_pair, _path):
        old, our = pair or (None, None)
        row = their
        if their == old:
            row = our
        elif our not in {old, their}:
            path = (our or their or ("",))[0]
            if not prefer_theirs and not _own(path):
                conflicts.add((path, _reason(old, our, their)))
        if row is not None:
            tree.add(row)
    merged = tree.build()
    for path in files_and_folders(map(_path, merged)):
        conflicts.add((path, "a file on one side, a folder on the other"))
    return merged, conflicts.build()


def _path_of_pair(pair: tuple[Row | None, Row | None]) -> str:
    row = pair[0] or pair[1]
    assert row is not None, "a pair has at least one side"
    path: str = row[0]
    return path


def _reason(old: Row | None, our: Row | None, their: Row | None) -> str:
    if our is None:
        return "removed there, changed here"
    if their is None:
        return "changed there, removed here"
    return "changed on both sides" if old else "added on both sides"
