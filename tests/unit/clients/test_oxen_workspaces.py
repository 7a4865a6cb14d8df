"""How a commit on a server is made while the server loses, refuses and confuses things: a stand-in for it.

What a real one does is shown by the contract's tests, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import xxhash

from syncd.clients import oxen_clearing, oxen_gathering, oxen_repositories
from syncd.clients.commits import Author, StoredContent, TreeEntry
from syncd.clients.oxen_api import OxenApi
from syncd.clients.oxen_gathering import Gathering
from syncd.clients.oxen_repositories import BASE, OWN, Repositories
from syncd.clients.oxen_trees import TreeCache
from syncd.clients.oxen_uploads import Uploads
from syncd.clients.oxen_wire import Wire
from syncd.clients.oxen_workspaces import Workspaces
from syncd.errors import PermanentError, ServiceUnavailableError, SyncdError, VerificationError
from syncd.refs import RepoRef

REPO = RepoRef(namespace="team", repo="proj-ds")
ANN = Author(name="Ann", email="ann@example.com")
Tree = dict[str, str]  # contents by path


def name(data: str) -> str:
    """Oxen's hash."""
    return f"{xxhash.xxh3_128_intdigest(data.encode('latin-1')):x}"


def entries(tree: Mapping[str, str]) -> list[TreeEntry]:
    """The tree as a caller gives it."""
    return [TreeEntry(path=p, hash=name(d), size=len(d)) for p, d in sorted(tree.items())]


@dataclass
class Server:
    """The calls of `OxenApi` that make commits, and what may go wrong with them."""

    running: str = "0.65.2"
    there: bool = False
    commits: dict[str, dict[str, Any]] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)  # of workspaces
    staged: dict[str, Tree] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    unindexed: set[str] = field(default_factory=set)  # commits
    merges: list[Exception | None] = field(default_factory=list)  # what becomes of their answers
    keeps: set[str] = field(default_factory=set)  # paths that are passed over while they are there
    adds: Tree = field(default_factory=dict)  # what gets into each commit of files, beside them
    meanwhile: tuple[str, str] | None = None  # a branch, and where somebody moves it meanwhile
    refuses: dict[str, SyncdError] = field(default_factory=dict)  # by call
    sticks: set[str] = field(default_factory=set)  # paths whose removal is not taken back

    def _may(self, call: str) -> None:
        if call in self.refuses:
            raise self.refuses[call]

    def made(self, tree: Tree, parents: Sequence[str], message: str, author: str = "Ann") -> str:
        """Make a commit."""
        commit = f"{len(self.commits) + 1:032x}"
        self.trees[commit] = tree
        email = oxen_repositories.SYNCD.email if author == "syncd" else ANN.email
        self.commits[commit] = {
            "id": commit,
            "parent_ids": list(parents),
            "message": message,
            "author": author,
            "email": email,
        }
        return commit

    def probe(self) -> None:
        """It is there."""

    def version(self) -> str:
        """What it says."""
        return self.running

    def exists(self, _repo: RepoRef) -> bool:
        """One repository, or none."""
        return self.there

    def create(self, _repo: RepoRef, file: tuple[str, bytes], *, author: str, email: str) -> None:
        """With its first commit."""
        assert email
        self.there = True
        data = file[1].decode("latin-1")
        self.contents[name(data)] = data
        self.heads["main"] = self.made({file[0]: data}, [], "Begin", author)

    def branches(self, _repo: RepoRef) -> dict[str, str]:
        """All of them."""
        return dict(self.heads)

    def branch(self, _repo: RepoRef, branch: str) -> str | None:
        """One of them."""
        return self.heads.get(branch)

    def set_branch(self, _repo: RepoRef, branch: str, commit: str) -> None:
        """To a commit that is there."""
        assert commit in self.commits
        self.heads[branch] = commit

    def create_branch(self, repo: RepoRef, branch: str, commit: str) -> None:
        """A new one."""
        assert branch not in self.heads
        self.set_branch(repo, branch, commit)

    def delete_branch(self, _repo: RepoRef, branch: str) -> None:
        """If it is there."""
        self.heads.pop(branch, None)

    def commit(self, _repo: RepoRef, commit: str) -> dict[str, Any] | None:
        """What is known of it."""
        return self.commits.get(commit)

    def rebuild_index(self, _repo: RepoRef, commit: str) -> None:
        """From its tree."""
        self.unindexed.discard(commit)

    def directory(self, _repo: RepoRef, commit: str, folder: str) -> Iterator[dict[str, Any]]:
        """Its entries; a folder is never like another one."""
        assert commit not in self.unindexed
        inside = f"{folder}/" if folder else ""
        tree = self.trees[commit]
        kept = {p.removeprefix(inside): d for p, d in tree.items() if p.startswith(inside)}
        for top in sorted({path.partition("/")[0] for path in kept}):
            is_dir = top not in kept
            content = name(f"{commit}{inside}{top}") if is_dir else name(kept[top])
            size = 0 if is_dir else len(kept[top])
            yield {"filename": top, "is_dir": is_dir, "hash": content, "size": size}

    def missing(self, _repo: RepoRef, hashes: Sequence[str]) -> set[str]:
        """What is not there."""
        return set(hashes) - self.contents.keys()

    def workspaces(self, _repo: RepoRef) -> dict[str, dict[str, Any]]:
        """With what they are based on."""
        return {workspace: self.commits[base] for workspace, base in self.bases.items()}

    def open_workspace(self, _repo: RepoRef, workspace: str, branch: str) -> str:
        """On a branch."""
        self._may("open")
        self.bases[workspace] = self.heads[branch]
        self.staged[workspace], self.removed[workspace] = {}, set()
        return self.bases[workspace]

    def delete_workspace(self, _repo: RepoRef, workspace: str) -> None:
        """If it is there."""
        self.bases.pop(workspace, None)

    def stage(self, _repo: RepoRef, workspace: str, parts: Sequence[tuple[str, bytes]]) -> set[str]:
        """What differs, or could be looked at."""
        for path, data in parts:
            self.contents[name(data.decode("latin-1"))] = data.decode("latin-1")
            self._put(workspace, path, data.decode("latin-1"))
        return {path for path, _ in parts}

    def begin_upload(
        self, _repo: RepoRef, content: str, _size: int, where: tuple[str, str]
    ) -> dict[str, Any] | None:
        """Stage what is there."""
        self._put(*where, self.contents[content])
        return None

    def _put(self, workspace: str, path: str, data: str) -> None:
        base = self.bases[workspace]
        looks = base not in self.unindexed
        if not (looks and path in self.keeps and path in self.trees[base]):
            self.staged[workspace][path] = data

    def remove(self, _repo: RepoRef, workspace: str, paths: Iterable[str]) -> None:
        """Files and folders of the commit before, which it has to find, or what is staged alone."""
        self._may("remove")
        assert self.bases[workspace] not in self.unindexed
        for path in paths:
            if path.startswith("./"):
                self.removed[workspace].discard(path.removeprefix("./"))
            else:
                everything = set() if path else set(self.trees[self.bases[workspace]])
                self.removed[workspace] |= everything or {path}

    def unstage(self, _repo: RepoRef, workspace: str, paths: Iterable[str]) -> None:
        """What is no table."""
        self._may("unstage")
        tables = {path for path in self.removed[workspace] if path.endswith(".csv")}
        self.removed[workspace] -= set(paths) - tables - self.sticks

    def merge(
        self, _repo: RepoRef, workspace: str, branch: str, *, message: str, author: str, email: str
    ) -> str:
        """Commit, and tell of it or not."""
        assert email
        assert self.bases[workspace] not in self.unindexed
        outcome = self.merges.pop(0) if self.merges else None
        if outcome is not None and "answer" not in str(outcome):
            raise outcome
        gone = self.removed[workspace]
        below = tuple(f"{path}/" for path in gone)
        before = self.trees[self.heads[branch]]
        kept = {p: d for p, d in before.items() if p not in gone and not p.startswith(below)}
        tree = {**kept, **self.staged[workspace], **(self.adds if author != "syncd" else {})}
        self.heads[branch] = self.made(tree, [self.heads[branch]], message, author)
        del self.bases[workspace]
        if self.meanwhile is not None and author != "syncd":
            self.heads[self.meanwhile[0]] = self.meanwhile[1]
        if outcome is not None:
            raise outcome
        return self.heads[branch]


class Plain(Gathering):
    """Opens workspaces without an index by the stand-in's own means."""

    def __init__(self, server: Server) -> None:
        super().__init__(cast("Wire", None), cast("OxenApi", server))
        self._server = server

    def _like(self, repo: RepoRef, branch: str, before: str) -> str:
        """As the route does."""
        self._server._may("commits")
        made = self._server.made(
            self._server.trees[before], [before], oxen_repositories.GATHERING, "syncd"
        )
        self._server.set_branch(repo, branch, made)
        return made

    def _unpack(self, repo: RepoRef, name: str) -> None:
        """As the route does."""
        del repo
        self._server._may("upload")
        self._server.unindexed.add(name.split("/")[1])


@dataclass
class Mover:
    """What commits to the stand-in, as one process."""

    server: Server
    folder: Path

    def __post_init__(self) -> None:
        api = cast("OxenApi", self.server)
        trees = TreeCache(api, self.folder / "trees")
        self.uploads = Uploads(api, self.folder / "spool", limit=1 << 20)
        self.repositories = Repositories(api, trees)
        self.workspaces = Workspaces(
            api, self.repositories, trees, self.uploads, Plain(self.server)
        )

    def commit(self, tree: Tree, branch: str = "main", *, there: bool = True) -> str | None:
        """Commit a tree whose contents are there."""
        if there:
            self.server.contents |= {name(data): data for data in tree.values()}
        return self.workspaces.commit(REPO, branch, entries(tree), "said", ANN)

    def gather(self, tree: Tree, branch: str = "main", *, staged: Tree | None = None) -> None:
        """Stage files as they come, for a tree that is expected."""
        files = tree if staged is None else staged
        known = [(p, "" if p in files else name(d)) for p, d in sorted(tree.items())]
        self.workspaces.expect(REPO, branch, known)
        workspace = self.workspaces.gathering(REPO)
        assert workspace is not None
        files = {path: data for path, data in files.items() if path not in workspace.later}
        self.server.stage(REPO, workspace.id, [(p, d.encode("latin-1")) for p, d in files.items()])
        self.workspaces.note(workspace, [(path, name(data)) for path, data in files.items()])

    def left(self) -> tuple[set[str], set[str], set[str]]:
        """What there is of ours when all is done: branches, workspaces, commits without an index."""
        own = {branch for branch in self.server.heads if branch.startswith(OWN)}
        return own, set(self.server.bases), self.server.unindexed


@pytest.fixture
def mover(tmp_path: Path) -> Mover:
    """One, and a server without repositories."""
    return Mover(Server(), tmp_path)


NOTHING_LEFT = ({BASE}, set[str](), set[str]())


def test_a_tree_becomes_one_commit_on_what_was_there(mover: Mover) -> None:
    """Its branch is moved when all is proved, and nothing is left of the work."""
    first = mover.commit({"a": "1", "d/b": "2", "d/c": "3"})
    second = mover.commit({"a": "1", "d/b": "changed", "e/f": "4"})

    assert second is not None
    assert mover.server.trees[second] == {"a": "1", "d/b": "changed", "e/f": "4"}
    assert mover.server.heads["main"] == second
    assert mover.server.commits[second]["message"] == "said"
    line = [second]
    while line[-1] != first:
        line += mover.server.commits[line[-1]]["parent_ids"]
    assert all(mover.server.commits[commit]["author"] == "syncd" for commit in line[1:-1])
    assert mover.left() == NOTHING_LEFT


def test_an_answer_that_was_lost_is_found_on_the_branch(mover: Mover) -> None:
    """The commit was made: a second one would say the same twice."""
    mover.server.merges = [ServiceUnavailableError("the answer is lost")]
    made = mover.commit({"a": "1"})

    said = [c for c in mover.server.commits.values() if c["message"] == "said"]
    assert [commit["id"] for commit in said] == [made]


def test_a_commit_that_was_not_made_is_made_again(mover: Mover) -> None:
    """A server that was away for a moment is asked again."""
    mover.server.merges = [ServiceUnavailableError("away"), ServiceUnavailableError("away")]
    made = mover.commit({"a": "1"})

    assert made is not None
    assert mover.server.trees[made] == {"a": "1"}
    assert mover.left() == NOTHING_LEFT


def test_an_id_that_is_taken_is_free_a_second_later(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are made of parent, message, author and the second."""
    waited: list[float] = []
    monkeypatch.setattr("syncd.clients.oxen_workspaces.time.sleep", waited.append)
    mover.server.merges = [ServiceUnavailableError("commit id is already taken")]
    made = mover.commit({"a": "1"})

    assert made is not None
    assert [0 < seconds <= 1 for seconds in waited] == [True]


def test_whoever_moved_the_branch_meanwhile_is_not_written_over(mover: Mover) -> None:
    """The caller is told, for its tree was made of what was there before."""
    first = mover.commit({"a": "1"})
    assert first is not None
    theirs = mover.server.made({"a": "theirs"}, [first], "theirs")
    mover.server.meanwhile = ("main", theirs)

    assert mover.commit({"a": "ours"}) is None
    assert mover.server.heads["main"] == theirs
    assert mover.left() == NOTHING_LEFT


def test_what_the_server_passes_over_comes_anew(mover: Mover) -> None:
    """It takes a file for unmodified that is as large as the one before and almost as old."""
    mover.commit({"d/a": "old", "d/b": "b"})
    mover.server.keeps = {"d/a"}
    made = mover.commit({"d/a": "new", "d/b": "c"})

    assert made is not None
    assert mover.server.trees[made] == {"d/a": "new", "d/b": "c"}
    assert mover.left() == NOTHING_LEFT


def test_all_that_is_staged_passed_over_is_no_end_either(mover: Mover) -> None:
    """The server says that there are no changes then."""
    mover.commit({"a": "old"})
    mover.server.keeps = {"a"}
    mover.server.merges = [PermanentError("refused: NoChanges")]
    made = mover.commit({"a": "new"})

    assert made is not None
    assert mover.server.trees[made] == {"a": "new"}


@pytest.mark.parametrize("adds", [{"b": "more"}, {"a": "other"}], ids=["more", "other"])
def test_another_tree_than_the_one_asked_for_is_never_shown(mover: Mover, adds: Tree) -> None:
    """The branch stays where it was."""
    first = mover.commit({"c": "1"})
    mover.server.adds = adds
    with pytest.raises(VerificationError, match="another tree"):
        mover.commit({"a": "1", "c": "1"})

    assert mover.server.heads["main"] == first
    assert mover.left() == NOTHING_LEFT


def test_a_content_that_is_missing_is_named(mover: Mover) -> None:
    """With its path; nothing is committed."""
    with pytest.raises(PermanentError, match=r"lacks the content .* of 'd/a'"):
        mover.commit({"d/a": "never sent"}, there=False)

    assert "main" not in mover.server.heads
    assert mover.left() == NOTHING_LEFT


def test_the_same_tree_again_is_a_commit_of_its_own(mover: Mover) -> None:
    """A version that equals the one before has its commit, too."""
    first = mover.commit({"a": "1", "d/b": "2"})
    second = mover.commit({"a": "1", "d/b": "2"})

    assert first is not None
    assert second not in {None, first}
    assert mover.server.trees[str(second)] == mover.server.trees[first]


@pytest.mark.parametrize("many", [250, 2], ids=["few", "many"])
def test_what_gathered_is_committed_without_being_staged_again(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """In the workspace in which it gathered, where many go without a look at what was."""
    monkeypatch.setattr(oxen_gathering, "MANY", many)
    tree = {"a": "1", "d/b": "2", "d/c": "3"}
    mover.gather(tree)
    assert bool(mover.server.unindexed) == (many == 2)
    again: list[str] = []
    monkeypatch.setattr(Uploads, "stage", lambda *_: again.append("staged"))
    made = mover.workspaces.commit(REPO, "main", entries(tree), "said", ANN)

    assert made is not None
    assert mover.server.trees[made] == tree
    assert mover.server.commits[made]["parent_ids"] == [mover.server.heads[BASE]]
    assert again == []
    assert mover.left() == NOTHING_LEFT


@pytest.mark.parametrize("many", [250, 2], ids=["few", "many"])
def test_what_gathered_and_is_not_wanted_does_not_get_into_the_commit(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """A file that changed while it came was staged with what it was before."""
    monkeypatch.setattr(oxen_gathering, "MANY", many)
    tree = {"a": "1", "b": "2", "c": "3"}
    mover.gather(tree, staged={"a": "1", "b": "damaged", "stray": "4"})
    made = mover.commit(tree)

    assert made is not None
    assert mover.server.trees[made] == tree
    assert mover.left() == NOTHING_LEFT


@pytest.mark.parametrize(
    ("call", "error", "again"),
    [
        ("commits", PermanentError("no"), False),
        ("upload", PermanentError("no"), False),
        ("upload", ServiceUnavailableError("busy"), True),
    ],
)
def test_a_server_that_takes_no_part_is_used_as_ever(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, call: str, error: SyncdError, *, again: bool
) -> None:
    """What it refuses for good is not asked for again."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    tree = {"a": "1", "d/b": "2", "d/c": "3"}
    mover.server.refuses = {call: error}
    mover.gather(tree)
    made = mover.commit(tree)
    mover.server.refuses = {}
    mover.gather(tree, "side")

    assert made is not None
    assert mover.server.commits[made]["parent_ids"] == [mover.server.heads[BASE]]
    assert bool(mover.server.unindexed) == again


def test_another_server_than_the_one_that_was_tried_is_used_as_ever(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may look for files in another way."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    mover.server.running = "0.66.0"
    mover.gather({"a": "1", "d/b": "2", "d/c": "3"})

    assert not mover.server.unindexed


def test_a_workspace_that_could_not_be_opened_leaves_nothing_damaged(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken away for it comes back."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    mover.server.refuses = {"open": ServiceUnavailableError("away")}
    with pytest.raises(ServiceUnavailableError):
        mover.gather({"a": "1", "d/b": "2", "d/c": "3"})

    assert not mover.server.unindexed


def test_what_a_killed_process_left_is_mended_and_deleted_when_it_is_old(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: somebody may be at work."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    mover.gather({"a": "1", "d/b": "2", "d/c": "3"})
    killed = set(mover.server.bases), {b for b in mover.server.heads if b.startswith(OWN)}
    Mover(mover.server, tmp_path / "soon").commit({"z": "1"}, "side")
    assert killed[0] <= set(mover.server.bases)
    assert killed[1] <= set(mover.server.heads)
    assert len(mover.server.unindexed) == 1

    monkeypatch.setattr(oxen_repositories, "STALE", -1)
    Mover(mover.server, tmp_path / "later").commit({"z": "2"}, "side")

    assert mover.left() == NOTHING_LEFT


def test_a_repository_that_another_made_gets_a_base_to_begin_on(mover: Mover) -> None:
    """What somebody else committed stays, and is no ancestor of a branch without a past."""
    server = mover.server
    server.there = True
    theirs = server.made({"x/y": "theirs"}, [], "theirs")
    server.heads["main"] = theirs
    made = mover.commit({"a": "1"}, "moved")

    assert made is not None
    assert server.trees[made] == {"a": "1"}
    assert server.heads["main"] == theirs


def test_bytes_that_the_server_has_not_are_not_staged(mover: Mover) -> None:
    """An upload that begins where the content was known to be there is a loss that is told."""
    lost = StoredContent(hash=name("x"), size=1)
    mover.server.begin_upload = lambda *_: {"upload_id": "u"}  # type: ignore[method-assign]
    with pytest.raises(ServiceUnavailableError, match="has lost the content"):
        mover.uploads.stage(REPO, "w", [TreeEntry(path="a", hash=lost.hash, size=lost.size)])


def test_many_files_beside_what_stays_are_committed(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is removed, the commit itself is what needs the index; it is made once."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    first = mover.commit({"d/kept": "0", "d/too": "t"})
    tree = {"d/kept": "0", "d/too": "t", "d/a": "1", "d/b": "2"}
    mover.gather(tree, staged={"d/a": "1", "d/b": "2"})
    assert mover.server.unindexed
    rebuilt: list[str] = []
    rebuild = mover.server.rebuild_index

    def counted(repo: RepoRef, commit: str) -> None:
        rebuilt.append(commit)
        rebuild(repo, commit)

    monkeypatch.setattr(mover.server, "rebuild_index", counted)
    made = mover.workspaces.commit(REPO, "main", entries(tree), "said", ANN)

    assert made is not None
    assert mover.server.trees[made] == tree
    assert len(rebuilt) == 1
    assert mover.server.commits[made]["parent_ids"] == rebuilt
    assert mover.server.commits[rebuilt[0]]["parent_ids"] == [first]
    assert mover.left() == NOTHING_LEFT


@pytest.mark.parametrize("most", ["MOST", "SHARE"])
def test_many_files_beside_many_are_staged_as_ever(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    """The server reads all that was there to make a commit like it."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    monkeypatch.setattr(oxen_gathering, most, 3)
    before = {f"d/{n}": str(n) for n in range(7)}
    mover.commit(before)
    new = {f"d/x{n}": "x" for n in range(2)}
    mover.gather({**before, **new}, staged=new)

    assert not mover.server.unindexed


def test_what_gathered_for_one_branch_does_not_get_onto_another(mover: Mover) -> None:
    """Nor is the other one moved."""
    tree = {"a": "1", "b": "2"}
    mover.gather(tree)
    made = mover.commit(tree, "side")

    assert mover.server.heads["side"] == made
    assert "main" not in mover.server.heads
    assert mover.left() == NOTHING_LEFT


def test_a_branch_that_was_left_on_a_commit_without_an_index_is_mended(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two requests that make such a commit and leave it."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    with monkeypatch.context() as patched:
        patched.setattr(oxen_gathering.Gathering, "close", lambda *_: None)
        mover.server.refuses = {"open": ServiceUnavailableError("killed here")}
        with pytest.raises(ServiceUnavailableError):
            mover.gather({"a": "1", "d/b": "2", "d/c": "3"})
    mover.server.refuses = {}
    assert mover.server.unindexed

    monkeypatch.setattr(oxen_repositories, "STALE", -1)
    Mover(mover.server, tmp_path / "later").commit({"z": "1"}, "side")

    assert mover.left() == NOTHING_LEFT


BEFORE = {"d/a": "1", "d/b": "2", "d/kept": "k", "d/t.csv": "x", "e/kept.csv": "y", "e/gone": "g"}
CHANGED = {
    "d/a": "one",
    "d/b": "two",
    "d/kept": "k",
    "d/t.csv": "z",
    "e/kept.csv": "y",
    "e/new": "n",
}
CHANGING = {path: CHANGED[path] for path in ("d/a", "d/b", "d/t.csv", "e/new")}


def line(mover: Mover, last: str | None, first: str | None) -> list[str]:
    """What the commits from one back to another say first."""
    said: list[str] = []
    while last != first:
        assert last is not None
        said.append(mover.server.commits[last]["message"].partition("\n")[0])
        (last,) = mover.server.commits[last]["parent_ids"]
    return said


def test_many_files_that_change_are_taken_out_before_and_staged_without_a_look(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one commit that lacks them; but tables are staged with a look, as ever."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    first = mover.commit(BEFORE)
    mover.gather(CHANGED, staged=CHANGING)
    (without,) = mover.server.unindexed
    lacking = {p: d for p, d in BEFORE.items() if p not in {"d/a", "d/b"}}
    assert lacking.items() <= mover.server.trees[without].items()
    assert not {"d/a", "d/b"} & mover.server.trees[without].keys()
    begun: dict[str, bool] = {}
    begin = mover.server.begin_upload

    def looked(
        repo: RepoRef, content: str, size: int, where: tuple[str, str]
    ) -> dict[str, Any] | None:
        begun[where[1]] = bool(mover.server.unindexed)
        return begin(repo, content, size, where)

    monkeypatch.setattr(mover.server, "begin_upload", looked)
    made = mover.commit(CHANGED)

    assert made is not None
    assert mover.server.trees[made] == CHANGED
    assert begun == {"d/t.csv": False}
    assert line(mover, made, first) == ["said", "Gather files"]
    assert mover.left() == NOTHING_LEFT


def test_contents_that_are_there_and_change_many_files_are_staged_without_a_look(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that goes back to what was before brings nothing and stages all the same."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    mover.commit(BEFORE)
    looked: set[bool] = set()
    begin = mover.server.begin_upload

    def looks(
        repo: RepoRef, content: str, size: int, where: tuple[str, str]
    ) -> dict[str, Any] | None:
        looked.add(not mover.server.unindexed)
        return begin(repo, content, size, where)

    monkeypatch.setattr(mover.server, "begin_upload", looks)
    after = {**BEFORE, "d/a": "one", "d/b": "two"}
    made = mover.commit(after)

    assert made is not None
    assert mover.server.trees[made] == after
    assert looked == {False}
    assert mover.left() == NOTHING_LEFT


@pytest.mark.parametrize(
    ("at", "error", "again"),
    [
        ("remove", PermanentError("no"), False),
        ("unstage", PermanentError("no"), False),
        ("unstage", ServiceUnavailableError("busy"), True),
        ("merge", PermanentError("no"), False),
        ("merge", ServiceUnavailableError("the answer is lost"), True),
        ("sticks", PermanentError("a path that the server spells in another way"), True),
    ],
)
def test_a_server_that_does_not_take_them_out_is_used_as_ever(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, at: str, error: SyncdError, *, again: bool
) -> None:
    """No branch and no other commit leads to what it made instead."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    first = mover.commit({path: data for path, data in BEFORE.items() if path != "e/gone"})
    mover.server.refuses = {at: error}
    mover.server.merges = [error] if at == "merge" else []
    mover.server.sticks = {"d/kept"} if at == "sticks" else set()
    mover.gather(CHANGED, staged=CHANGING)
    assert not mover.server.unindexed
    mover.server.refuses, mover.server.sticks = {}, set()
    made = mover.commit(CHANGED)
    mover.gather(BEFORE)

    assert made is not None
    assert mover.server.trees[made] == CHANGED
    assert line(mover, made, first) == ["said"]
    assert bool(mover.server.unindexed) == again


def test_what_a_killed_process_left_of_files_that_change_is_mended_when_it_is_old(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of those that are new."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    mover.commit(BEFORE)
    mover.gather(CHANGED, staged=CHANGING)
    assert mover.server.unindexed

    monkeypatch.setattr(oxen_repositories, "STALE", -1)
    Mover(mover.server, tmp_path / "later").commit({"z": "1"}, "side")

    assert mover.left() == NOTHING_LEFT


def test_a_server_that_keeps_the_index_of_what_they_were_taken_out_of_is_used_as_ever(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come as new ones, each with a look."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    mover.commit(BEFORE)
    mover.server.refuses = {"upload": PermanentError("no")}
    mover.gather(CHANGED, staged=CHANGING)
    assert not mover.server.unindexed
    made = mover.commit(CHANGED)

    assert made is not None
    assert mover.server.trees[made] == CHANGED
    assert mover.left() == NOTHING_LEFT


def test_more_tables_than_other_files_that_change_are_staged_as_ever(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is taken back by a look of its own."""
    monkeypatch.setattr(oxen_gathering, "MANY", 2)
    before = {**BEFORE, "x.CSV": "1"}
    mover.commit(before)
    mover.gather({**CHANGED, "x.CSV": "1"}, staged=CHANGING)

    assert not mover.server.unindexed


def test_each_node_of_a_folder_that_loses_files_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a node that only loses files could be taken for an older one of the same contents."""
    monkeypatch.setattr(oxen_clearing, "NODE", 10)
    staying = [f"d/{n}" for n in range(27)]
    found = oxen_clearing.placeholders(staying, {"", "d", "d/sub", "e"}, ["d/x", "top", "e/y"])

    folders = [path.rpartition("/")[0] for path in found]
    assert sorted(folders) == ["", "d", "d", "d", "d", "e"]
    nodes = {xxhash.xxh3_128_intdigest(path.encode()) % 4 for path in found if path[:2] == "d/"}
    assert nodes == {0, 1, 2, 3}
