"""The journal: nothing that was written is lost, whoever writes at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from syncd.clients.commits import Author, StoredContent, TreeEntry
from syncd.errors import PermanentError, TransientError
from syncd.promotion.journal import BRANCH, PATH, Journal
from syncd.refs import CommitRef, RepoRef
from syncd.testing import MemoryVersionStore
from syncd.versions.events import Event, Kind, Point, State

REPO = RepoRef(namespace="team", repo="syncd-journal")


def event(name: str, **changes: object) -> Event:
    """An event that nothing hangs on."""
    point = Point(version="team/proj/model:v1", logged="team/proj/model:v0", artifact_id="one")
    made = Event(
        id=name, kind=Kind.PROMOTE, subject="s", before=None, after=point, by="ann", at="2026"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Racing(MemoryVersionStore):
    """A store in which others write to the journal just before we do.

    Args:
        others: what they write, one event before each of our commits.
    """

    def __init__(self, others: Sequence[Event]) -> None:
        super().__init__()
        self.others = list(others)

    def commit(
        self, repo: RepoRef, *, branch: str, tree: Sequence[TreeEntry], message: str, author: Author
    ) -> CommitRef:
        """Theirs, then ours."""
        if self.others:
            theirs = MemoryVersionStore()
            theirs._repositories = self._repositories
            Journal(theirs, REPO).append(self.others.pop(0))
        return super().commit(repo, branch=branch, tree=tree, message=message, author=author)


def test_an_event_is_what_was_written_last_of_it() -> None:
    """In the order in which events began."""
    store = MemoryVersionStore()
    journal = Journal(store, REPO)
    for item in (event("a"), event("b"), event("a", state=State.DONE)):
        journal.append(item)

    assert Journal(store, REPO).events() == [event("a", state=State.DONE), event("b")]


def test_each_line_is_a_commit_that_says_what_it_is() -> None:
    """By whom it was asked for, in Oxen's own history."""
    store = MemoryVersionStore()
    journal = Journal(store, REPO)
    journal.append(event("a"))
    journal.append(event("a", state=State.DONE))
    head = store.resolve(REPO, BRANCH)

    assert head is not None
    assert head.message == "promote s: team/proj/model:v1, done"
    assert head.author.name == "ann"
    assert len(head.parents) == 1


def test_writing_the_same_twice_is_once() -> None:
    """As after an answer that was lost."""
    store = MemoryVersionStore()
    for _ in range(2):
        Journal(store, REPO).append(event("a"))

    assert Journal(store, REPO).events() == [event("a")]


def test_what_others_write_meanwhile_is_kept() -> None:
    """In between our reading and our writing, several times."""
    store = Racing([event("theirs"), event("more")])
    journal = Journal(store, REPO)
    journal.append(event("ours"))

    assert {item.id for item in Journal(store, REPO).events()} == {"theirs", "more", "ours"}


def test_others_who_never_stop_are_told_of() -> None:
    """Somebody tries again later; nothing of theirs is lost."""
    store = Racing([event(f"theirs-{number}") for number in range(99)])

    with pytest.raises(TransientError, match="all the time"):
        Journal(store, REPO).append(event("ours"))


def test_a_line_of_somebody_elses_is_refused() -> None:
    """Nothing is guessed, and nothing is written over it."""
    store = MemoryVersionStore()
    stored: StoredContent = store.put(REPO, [b"hello\n"])
    store.commit(
        REPO,
        branch=BRANCH,
        tree=[TreeEntry(path=PATH, hash=stored.hash, size=stored.size)],
        message="mine",
        author=Author(name="bob", email="bob@example.org"),
    )

    with pytest.raises(PermanentError, match="line that is none"):
        Journal(store, REPO).events()
