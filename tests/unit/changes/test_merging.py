"""Merging: what a reference three-way merge makes of two trees, and a history that loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syncd.blocks import Row
from syncd.changes.difference import Kind
from syncd.changes.merging import Review, State, merge, review, three_way
from syncd.clients.commits import Author, Commit, TreeEntry
from syncd.errors import MergeConflictError, NotFoundError, UsageError
from syncd.refs import CommitRef, RepoRef
from syncd.testing import MemoryVersionStore
from syncd.versions.ancestry import parents, relation

REPO = RepoRef(namespace="team", repo="ds")
ANN = Author(name="ann", email="ann@example.com")
BOTH_KINDS = "a file on one side, a folder on the other"
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
Files = Mapping[str, int]
trees = st.dictionaries(st.sampled_from(["a", "b", "b/c", "d/e", "d/f"]), st.integers(0, 2))


def rows(files: Files) -> list[Row]:
    """A tree."""
    return [(path, f"c{files[path]}", files[path]) for path in sorted(files)]


@given(trees, trees, trees, st.booleans())
def test_a_merge_is_what_dictionaries_tell(
    base: Files, ours: Files, theirs: Files, prefer_theirs: bool
) -> None:
    """Each path by itself: what one side alone changed counts; else it is a conflict."""
    wanted: dict[str, int] = {}
    clash = set()
    for path in base.keys() | ours.keys() | theirs.keys():
        old, our, their = base.get(path), ours.get(path), theirs.get(path)
        if old != our and their not in {old, our} and not prefer_theirs:
            clash.add(path)
            continue
        value = our if old == their else their
        if value is not None:
            wanted[path] = value
    assume(not ("b" in wanted and "b/c" in wanted))
    tree, conflicts = three_way(rows(base), rows(ours), rows(theirs), prefer_theirs=prefer_theirs)

    assert clash <= {path for path, _ in conflicts}
    assert {reason for path, reason in conflicts if path not in clash} <= {BOTH_KINDS}
    if not len(conflicts):
        assert rows(wanted) == list(tree)


def test_a_file_on_one_side_and_a_folder_on_the_other_are_a_conflict() -> None:
    """Oxen could not hold both."""
    _, conflicts = three_way(rows({}), rows({"b": 1}), rows({"b/c": 2}))

    assert list(conflicts) == [("b", BOTH_KINDS)]


class Line:
    """A repository in which versions are committed."""

    def __init__(self) -> None:
        self.store = MemoryVersionStore()

    def commit(self, branch: str, files: Mapping[str, str], version: str = "") -> CommitRef:
        """Commit files to a branch, as a version when one is named."""
        tree = []
        for path, text in sorted(files.items()):
            stored = self.store.put(REPO, [text.encode()])
            tree.append(TreeEntry(path=path, hash=stored.hash, size=stored.size))
        said = f"ds {version}\n\nWandb-Artifact: team/proj/ds:{version}" if version else "by hand"
        return self.store.commit(REPO, branch=branch, tree=tree, message=said, author=ANN)

    def branch(self, name: str, at: CommitRef) -> None:
        """Begin a branch."""
        self.store.set_branch(at, name)

    def review(self, candidate: CommitRef, *, theirs: bool = False) -> Review:
        """What a merge into main would do."""
        return review(self.store, candidate, "main", theirs=theirs)

    def merge(
        self, candidate: CommitRef, *, theirs: bool = False, message: str | None = None
    ) -> CommitRef:
        """Do it."""
        reviewed = self.review(candidate, theirs=theirs)
        return merge(self.store, reviewed, author=ANN, now=NOW, message=message)

    def main(self) -> Commit:
        """Where main is."""
        found = self.store.resolve(REPO, "main")
        assert found is not None
        return found

    def files(self) -> dict[str, str]:
        """What main holds."""
        ref = self.main().ref
        return {
            entry.path: b"".join(self.store.read(ref, entry.path)).decode()
            for entry in self.store.tree(ref)
        }

    def history(self, commit: CommitRef) -> set[str]:
        """All that a commit comes from, itself included."""
        seen: set[str] = set()
        left = [commit.commit]
        while left:
            name = left.pop()
            found = self.store.resolve(REPO, name)
            if name not in seen and found is not None:
                seen.add(name)
                left += parents(found)
        return seen


def test_where_main_has_nothing_of_its_own_it_moves_to_the_versions_own_commit() -> None:
    """W&B names that commit; a second merge finds it done."""
    line = Line()
    first = line.commit("main", {"a": "1"}, "v0")
    line.branch("candidate/v1", first)
    second = line.commit("candidate/v1", {"a": "2", "b": "new"}, "v1")
    reviewed = line.review(second)

    assert (State.FORWARD, first.commit, 1, 0) == (
        reviewed.state,
        reviewed.base,
        reviewed.ahead,
        reviewed.behind,
    )
    assert [item.kind for item in reviewed.difference.changes()] == [Kind.CHANGED, Kind.ADDED]
    assert first == line.main().ref
    assert second == line.merge(second) == line.main().ref
    assert State.MERGED == line.review(second).state == line.review(first).state
    assert second == line.merge(second) == line.merge(first) == line.main().ref


def test_the_first_version_of_all_makes_the_branch() -> None:
    """There is no main branch before."""
    line = Line()
    made = line.commit("candidate/v0", {"a": "1"}, "v0")

    assert line.review(made).state == State.NEW
    assert made == line.merge(made) == line.main().ref


def test_two_candidates_become_one_commit_that_names_both() -> None:
    """Files of both, who and when; neither's commit is lost, and the lineage file is the merged one's."""
    line = Line()
    own = ".syncd/lineage.json"
    first = line.commit("main", {"a": "1", "old": "x", own: "v0"}, "v0")
    for name, files in {
        "v1": {"a": "2", "old": "x", own: "v1"},
        "v2": {"a": "1", "b": "new", own: "v2"},
    }.items():
        line.branch(f"candidate/{name}", first)
        line.commit(f"candidate/{name}", files, name)
    one, two = (line.store.branches(REPO)[f"candidate/{name}"] for name in ("v1", "v2"))
    line.merge(CommitRef(repo=REPO, commit=two))
    made = line.merge(CommitRef(repo=REPO, commit=one))
    message = line.main().message

    assert {"a": "2", "b": "new", own: "v1"} == line.files()
    assert message.splitlines()[0] == "Merge team/proj/ds:v1 into main"
    assert "Wandb-Version: team/proj/ds:v2" in message
    assert "Wandb-Merged-By: ann <ann@example.com>" in message
    assert "Wandb-Merged-At: 2026-11-26T12:00:00+00:00" in message
    assert {first.commit, one, two, made.commit} == line.history(made)
    assert State.MERGED is line.review(CommitRef(repo=REPO, commit=one)).state
    assert made == line.merge(CommitRef(repo=REPO, commit=one)) == line.main().ref


def test_a_conflict_changes_nothing_and_names_the_paths() -> None:
    """Until it is said whose file counts."""
    line = Line()
    first = line.commit("main", {"a": "1", "b": "1", "c": "1"}, "v0")
    line.branch("candidate/v1", first)
    other = line.commit("candidate/v1", {"a": "theirs", "b": "1", "new": "theirs"}, "v1")
    head = line.commit("main", {"a": "ours", "c": "1", "b": "1", "new": "ours"}, "v2")
    reviewed = line.review(other)

    assert State.CONFLICT is reviewed.state
    assert list(reviewed.conflicts) == [
        ("a", "changed on both sides"),
        ("new", "added on both sides"),
    ]
    with pytest.raises(MergeConflictError, match=r"a \(changed on both sides\), new") as caught:
        line.merge(other)
    assert "--theirs" in caught.value.hint
    assert head == line.main().ref
    made = line.merge(other, theirs=True)
    assert line.files() == {"a": "theirs", "b": "1", "new": "theirs"}
    assert {first.commit, other.commit, head.commit, made.commit} == line.history(made)


def test_what_a_person_says_makes_a_commit() -> None:
    """Also where main could be moved forward; text that looks like a trailer stays text."""
    line = Line()
    first = line.commit("main", {"a": "1"}, "v0")
    line.branch("candidate/v1", first)
    second = line.commit("candidate/v1", {"a": "2"}, "v1")
    made = line.merge(second, message="Reviewed\nWandb-Artifact: team/proj/other:v7")

    assert made != second
    assert line.main().message.splitlines()[:3] == [
        "Reviewed Wandb-Artifact: team/proj/other:v7",
        "",
        "Wandb-Version: team/proj/ds:v1",
    ]
    assert line.files() == {"a": "2"}


def test_a_strangers_commit_is_merged_by_one_that_tells_whose_line_it_is() -> None:
    """Else the next version would find a main branch that syncd did not make."""
    line = Line()
    first = line.commit("main", {"labels.csv": "cat"}, "v0")
    line.branch("fixes", first)
    fixed = line.commit("fixes", {"labels.csv": "dog"})
    made = line.merge(fixed)

    assert fixed != made == line.main().ref
    assert "Wandb-Version: team/proj/ds:v0" in line.main().message


def test_main_never_moves_to_where_only_a_message_names_what_it_was() -> None:
    """Main was merged into the candidate: Oxen itself would know nothing of main's own commit."""
    line = Line()
    first = line.commit("main", {"a": "1"}, "v0")
    line.branch("candidate/v1", first)
    candidate = line.commit("candidate/v1", {"a": "1", "b": "1"}, "v1")
    own = line.commit("main", {"a": "2"}, "v2")
    back = merge(line.store, review(line.store, own, "candidate/v1"), author=ANN, now=NOW)
    later = line.commit("candidate/v1", {"a": "2", "b": "2"}, "v3")
    made = line.merge(later)

    assert {candidate.commit, own.commit} < line.history(back)
    assert made not in {own, later}
    assert line.main().parents == (own.commit,)
    assert line.files() == {"a": "2", "b": "2"}
    assert line.review(later).state is State.MERGED


def test_a_branch_that_moved_since_it_was_looked_at_stays_where_it_is() -> None:
    """Somebody else's commit would be lost."""
    line = Line()
    first = line.commit("main", {"a": "1"}, "v0")
    line.branch("candidate/v1", first)
    second = line.commit("candidate/v1", {"a": "2"}, "v1")
    reviewed = line.review(second)
    other = line.commit("main", {"a": "3"}, "v2")

    with pytest.raises(MergeConflictError, match="moved meanwhile"):
        merge(line.store, reviewed, author=ANN, now=NOW)
    assert other == line.main().ref


def test_versions_own_branches_never_move() -> None:
    """And what is not there is not merged."""
    line = Line()
    made = line.commit("main", {"a": "1"}, "v0")

    with pytest.raises(UsageError, match="stands for a version"):
        review(line.store, made, "wandb/v0")
    with pytest.raises(NotFoundError, match="does not exist"):
        line.review(CommitRef(repo=REPO, commit="f" * 32))


@given(st.lists(st.lists(st.integers(0, 11), max_size=2), min_size=2, max_size=12))
def test_the_base_is_a_latest_common_ancestor(graph: list[list[int]]) -> None:
    """In any history, merges included, as sets of ancestors tell."""
    store = MemoryVersionStore()
    names: list[str] = []
    ancestors: list[set[int]] = []
    for number, wanted in enumerate(graph):
        known = sorted({parent for parent in wanted if parent < number})
        branch = f"b{number}"
        if known:
            store.set_branch(CommitRef(repo=REPO, commit=names[known[0]]), branch)
        message = f"{number}\n\n" + "".join(
            f"Wandb-Merged-Commit: {names[parent]}\n" for parent in known[1:]
        )
        made = store.commit(REPO, branch=branch, tree=[], message=message, author=ANN)
        names.append(made.commit)
        ancestors.append({number}.union(*(ancestors[parent] for parent in known)))
    ours, theirs = len(graph) - 1, len(graph) - 2
    common = ancestors[ours] & ancestors[theirs]
    best = {n for n in common if not any(n in ancestors[m] for m in common - {n})}
    found = relation(store, REPO, names[ours], names[theirs])

    assert (found.base in {names[number] for number in best}) if best else found.base is None
    assert (found.base == names[theirs]) is (theirs in ancestors[ours])
    if len(best) != 1 or found.base is None:
        assert found.ahead == len(ancestors[theirs] - ancestors[ours])
        assert found.behind == len(ancestors[ours] - ancestors[theirs])
