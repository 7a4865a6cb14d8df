"""The journal: what was promoted and deployed, kept in Oxen, so that a lost state hides nothing.

It is files of lines on a branch of its own, in a repository of its own in each namespace: a
repository of models is written by whoever moves versions, and an endpoint may serve models of many.
Every line is a commit, so Oxen's history tells who wrote what and that nothing was taken out. A store
keeps each state of a file, so a new one is begun where one is full: a line costs the same in ten years
as today. The catalog mirrors it.

A commit that somebody else made between reading and writing is no loss: what its file says and ours
does not is written again on top.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncd import retry
from syncd.catalog.catalog import Catalog
from syncd.catalog.mirror import Mirror
from syncd.clients.commits import Author, Commit, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.config import Config
from syncd.errors import TransientError
from syncd.naming import namespace_name, repo_name
from syncd.refs import RepoRef
from syncd.versions.contents import groups
from syncd.versions.events import Event, folded

REPOSITORY = "syncd-journal"
BRANCH = "wandb/journal"  # no alias and no version has a branch of this name
PATH = "journal.jsonl"  # and further ones, journal-000001.jsonl
FULL = 64 << 10  # bytes of a file to which no more is written
_FURTHER = re.compile(r"journal-[0-9]{6}\.jsonl")
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


def known(config: Config, catalog: Catalog, entities: Iterable[str] = ()) -> list[RepoRef]:
    """The same, and those of whatever was moved, promoted, deployed or fine-tuned from here.

    Models are often linked from a team that the configuration does not name into a registry that it
    does: their events are kept where their versions are.

    Args:
        config: see `journals`.
        catalog: what this machine knows.
        entities: further ones.
    """
    named = {event.after.version.partition("/")[0] for event in catalog.mirror.events()}
    beside = {
        RepoRef(namespace=repo.namespace, repo=REPOSITORY)
        for repo in catalog.descent.repositories()
    }
    return sorted({*journals(config, {*named, *entities}), *beside})


def home(config: Config, entity: str) -> RepoRef:
    """Where the events of an entity's versions are kept."""
    return RepoRef(namespace=namespace_name(config.oxen.namespace or entity), repo=REPOSITORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """One file of a journal.

    Args:
        path: its name.
        lines: what it holds, in order.
        stored: as a commit has it; None when it has not been stored.
    """

    path: str
    lines: tuple[str, ...]
    stored: TreeEntry | None


class Journal:
    """The journal of one namespace, for one writer at a time.

    Args:
        store: Oxen.
        repo: see `home`.
        mirror: the catalog's copy; None where nothing is written.
    """

    def __init__(self, store: VersionStore, repo: RepoRef, mirror: Mirror | None = None) -> None:
        self._store, self._repo, self._mirror = store, repo, mirror
        self._read: tuple[str, list[_Page]] = ("", [])  # a commit and its files

    def events(self) -> list[Event]:
        """All events in the order in which they began.

        Raises:
            PermanentError: when the file is not as syncd writes it.
        """
        return folded(_lines(self._pages(self._head())))

    def append(self, event: Event) -> None:
        """Write down how an event stands, durably before this returns.

        Raises:
            TransientError: when somebody else writes all the time.
        """
        pages = _added(self._pages(self._head()), [event.line])
        for _ in range(ROUNDS):
            made = self._commit(pages, event)
            theirs = [self._pages(self._store.resolve(self._repo, p)) for p in made.parents]
            ours = _lines(pages)
            if {line for each in theirs for line in _lines(each)} <= set(ours):
                break
            pages = max(theirs, key=lambda each: len(_lines(each)))
            for more in (*map(_lines, theirs), ours):
                pages = _added(pages, more)
        else:
            raise TransientError(f"{self._repo}: others write to the journal all the time")
        if self._mirror is not None:
            self._mirror.keep(folded(_lines(pages)))

    def _commit(self, pages: Sequence[_Page], event: Event) -> Commit:
        tree = [page.stored or self._put(page) for page in pages]
        made = retry.call(
            lambda: self._store.commit(
                self._repo,
                branch=BRANCH,
                tree=sorted(tree, key=lambda entry: entry.path),
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

    def _put(self, page: _Page) -> TreeEntry:
        data = "".join(f"{line}\n" for line in page.lines).encode()
        stored = retry.call(
            lambda: self._store.put(self._repo, [data]), what="write the journal", policy=PATIENCE
        )
        return TreeEntry(path=page.path, hash=stored.hash, size=stored.size)

    def _pages(self, commit: Commit | None) -> list[_Page]:
        """The files of a commit in their order; none where it has none."""
        if commit is None:
            return []
        if self._read[0] != commit.ref.commit:
            tree = [
                entry
                for entry in self._store.tree(commit.ref)
                if entry.path == PATH or _FURTHER.fullmatch(entry.path)
            ]
            tree.sort(key=lambda entry: (entry.path != PATH, entry.path))
            texts = self._texts(commit, tree)
            pages = [
                _Page(path=entry.path, lines=tuple(text.splitlines()), stored=entry)
                for entry, text in zip(tree, texts, strict=True)
            ]
            self._read = (commit.ref.commit, pages)
        return list(self._read[1])

    def _texts(self, commit: Commit, tree: Sequence[TreeEntry]) -> list[str]:
        """What files hold, many in one request."""
        small: dict[str, bytes] = {}
        for group in groups(tree, lambda entry: entry.size):
            if len(group) > 1:
                small |= self._store.read_small(commit.ref, group)
        return [
            (
                small[entry.hash]
                if entry.hash in small
                else b"".join(self._store.read(commit.ref, entry.path))
            ).decode(errors="replace")
            for entry in tree
        ]


def _lines(pages: Iterable[_Page]) -> list[str]:
    return [line for page in pages for line in page.lines]


def _added(pages: Sequence[_Page], lines: Iterable[str]) -> list[_Page]:
    """The files with some lines more, as far as they have them not."""
    found, known = list(pages), set(_lines(pages))
    for line in lines:
        if line in known:
            continue
        known.add(line)
        last = found[-1] if found else None
        if last is None or sum(len(item) + 1 for item in last.lines) >= FULL:
            path = f"journal-{len(found):06d}.jsonl" if found else PATH
            found.append(_Page(path=path, lines=(line,), stored=None))
        else:
            found[-1] = _Page(path=last.path, lines=(*last.lines, line), stored=None)
    return found


def read(store: VersionStore, repos: Sequence[RepoRef]) -> list[Event]:
    """The events of several journals, by time."""
    found = [event for repo in repos for event in Journal(store, repo).events()]
    return sorted(found, key=lambda event: event.at)


def _one_line(text: str) -> str:
    return " ".join(text.split())
