"""The journal: what was promoted and deployed, kept in Oxen, so that a lost state hides nothing.

It is one file of lines on a branch of its own, in a repository of its own in each namespace: a
repository of models is written by whoever moves versions, and an endpoint may serve models of many.
Every line is a commit, so Oxen's history tells who wrote what and that nothing was taken out. The
catalog mirrors it.

A commit that somebody else made between reading and writing is no loss: what its file says and ours
does not is written again on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncd import retry
from syncd.catalog.mirror import Mirror
from syncd.clients.commits import Author, Commit, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.config import Config
from syncd.errors import TransientError
from syncd.refs import RepoRef, namespace_name, repo_name
from syncd.versions.events import Event, folded

REPOSITORY = "syncd-journal"
BRANCH = "wandb/journal"  # no alias and no version has a branch of this name
PATH = "journal.jsonl"
ROUNDS = 5  # times that somebody else may write between our reading and writing
# A repository that another process holds is free again in a moment.
PATIENCE = retry.Policy(attempts=12, first_wait=0.2, longest_wait=5.0, total=40.0)


def journals(config: Config, entities: Iterable[str] = ()) -> list[RepoRef]:
    """The repositories that journals may be in.

    Args:
        config: names the namespace, or the entities whose names namespaces have.
        entities: further ones.
    """
    named = [target.partition("/")[0] for target in config.wandb.projects]
    found = {home(config, entity) for entity in [*named, *entities]}
    return sorted(found)


def home(config: Config, entity: str) -> RepoRef:
    """Where the events of an entity's versions are kept."""
    return RepoRef(namespace=namespace_name(config.oxen.namespace or entity), repo=REPOSITORY)


class Journal:
    """The journal of one namespace, for one writer at a time.

    Args:
        store: Oxen.
        repo: see `home`.
        mirror: the catalog's copy; None where nothing is written.
    """

    def __init__(self, store: VersionStore, repo: RepoRef, mirror: Mirror | None = None) -> None:
        self._store, self._repo, self._mirror = store, repo, mirror
        self._read: tuple[str, list[str]] = ("", [])  # a commit and its lines

    def events(self) -> list[Event]:
        """All events in the order in which they began.

        Raises:
            PermanentError: when the file is not as syncd writes it.
        """
        return folded(self._lines(self._head()))

    def append(self, event: Event) -> None:
        """Write down how an event stands, durably before this returns.

        Raises:
            TransientError: when somebody else writes all the time.
        """
        lines = self._lines(self._head())
        for _ in range(ROUNDS):
            if event.line not in lines:
                lines.append(event.line)
            made = self._commit(lines, event)
            theirs = [line for parent in made.parents for line in self._of(parent)]
            if set(theirs) <= set(lines):
                break
            lines = [*theirs, *(line for line in lines if line not in theirs)]
        else:
            raise TransientError(f"{self._repo}: others write to the journal all the time")
        if self._mirror is not None:
            self._mirror.keep(folded(lines))

    def _commit(self, lines: Sequence[str], event: Event) -> Commit:
        data = "".join(f"{line}\n" for line in lines).encode()
        stored = retry.call(
            lambda: self._store.put(self._repo, [data]), what="write the journal", policy=PATIENCE
        )
        made = retry.call(
            lambda: self._store.commit(
                self._repo,
                branch=BRANCH,
                tree=[TreeEntry(path=PATH, hash=stored.hash, size=stored.size)],
                message=_one_line(
                    f"{event.kind} {event.subject}: {event.after.version}, {event.state}"
                ),
                author=Author(name=event.by, email=f"{repo_name(event.by)}@syncd.invalid"),
            ),
            what="write the journal",
            policy=PATIENCE,
        )
        found = self._store.resolve(self._repo, made.commit)
        assert found is not None, "it was just made"
        return found

    def _head(self) -> Commit | None:
        return retry.call(
            lambda: self._store.resolve(self._repo, BRANCH),
            what="read the journal",
            policy=PATIENCE,
        )

    def _of(self, commit: str) -> list[str]:
        return self._lines(self._store.resolve(self._repo, commit))

    def _lines(self, commit: Commit | None) -> list[str]:
        """The lines of a commit; none where it has no such file."""
        if commit is None:
            return []
        if self._read[0] != commit.ref.commit:
            lines: list[str] = []
            if PATH in {entry.path for entry in self._store.tree(commit.ref)}:
                data = b"".join(self._store.read(commit.ref, PATH))
                lines = data.decode(errors="replace").splitlines()
            self._read = (commit.ref.commit, lines)
        return list(self._read[1])


def read(store: VersionStore, repos: Sequence[RepoRef]) -> list[Event]:
    """The events of several journals, by time."""
    found = [event for repo in repos for event in Journal(store, repo).events()]
    return sorted(found, key=lambda event: event.at)


def _one_line(text: str) -> str:
    return " ".join(text.split())
