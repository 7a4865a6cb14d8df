"""The journal: nothing that was written is lost, whoever writes at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from moved_project import MovedProject

from syncd.clients.commits import Author, StoredContent, TreeEntry
from syncd.config import Config
from syncd.errors import PermanentError, TransientError
from syncd.promotion import journal as journal_module
from syncd.promotion.journal import BRANCH, PATH, Journal, known
from syncd.refs import CommitRef, RepoRef
from syncd.testing import MemoryVersionStore
from syncd.versions.events import Event, Kind, Point, State
from syncd.versions.relatives import relatives

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


class Counting(MemoryVersionStore):
    """A store that knows how many bytes each content had that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []

    def put(self, repo: RepoRef, chunks: Iterable[bytes]) -> StoredContent:
        """See `VersionStore.put`."""
        stored = super().put(repo, chunks)
        self.written.append(stored.size)
        return stored


def test_an_event_is_what_was_written_last_of_it() -> None:
    """In the order in which events began."""
    store = MemoryVersionStore()
    journal = Journal(store, REPO)
    for item in (event("a"), event("b"), event("a", state=State.DONE)):
        journal.append(item)

    assert Journal(store, REPO).events() == [event("a", state=State.DONE), event("b")]


def test_what_lies_outside_the_configured_projects_is_known_from_the_mirror(
    moved: MovedProject,
) -> None:
    """An endpoint that serves another team's model must be able to go back."""
    config = Config.model_validate({"wandb": {"projects": ["team/proj"]}})
    point = Point(version="other/proj/model:v1", logged="other/proj/model:v1", artifact_id="one")
    moved.catalog.mirror.keep([event("a", kind=Kind.DEPLOY, subject="live", after=point)])

    assert [repo.namespace for repo in known(config, moved.catalog)] == ["other", "team"]


def test_what_was_moved_to_other_namespaces_may_have_a_journal_there(moved: MovedProject) -> None:
    """Somebody else may have promoted it, of whom this machine has heard nothing."""
    moved.catalog.descent.keep_versions(relatives(moved.log_and_move("ds", {"a": b"payload"})))
    config = Config.model_validate({"wandb": {"projects": ["org/proj"]}})

    assert [repo.namespace for repo in known(config, moved.catalog)] == ["org", "team"]


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


def test_a_line_costs_the_same_however_long_the_journal_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store keeps every state of a file: what is full is not written again."""
    monkeypatch.setattr(journal_module, "FULL", 2000)
    store = Counting()
    for number in range(60):
        for state in (State.INTENDED, State.DONE):
            Journal(store, REPO).append(event(f"e{number}", state=state))
    line = len(event("e99", state=State.INTENDED).line)

    assert max(store.written) <= 2000 + line + 1
    assert [item.id for item in Journal(store, REPO).events()] == [f"e{n}" for n in range(60)]
    assert all(item.state is State.DONE for item in Journal(store, REPO).events())
    head = store.resolve(REPO, BRANCH)
    assert head is not None
    names = [entry.path for entry in store.tree(head.ref)]
    assert names[:2] == ["journal-000001.jsonl", "journal-000002.jsonl"]
    assert names[-1] == PATH


def test_what_others_write_meanwhile_is_kept_where_a_file_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two may begin the same next file."""
    monkeypatch.setattr(journal_module, "FULL", 1)
    store = Racing([event("theirs"), event("more")])
    for name in ("ours", "again"):
        Journal(store, REPO).append(event(name))

    found = [item.id for item in Journal(store, REPO).events()]
    assert sorted(found) == ["again", "more", "ours", "theirs"]


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
