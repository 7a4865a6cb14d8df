"""Sides: a version is the same by whatever name, and wherever its files lie."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit_world import World

from syncd.changes.difference import Change, Kind
from syncd.changes.sides import Compared, Ends, compared, read, side
from syncd.clients.artifacts import Version
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.manifest import Algorithm, Entry
from syncd.refs import ArtifactRef, Target

ELSEWHERE = Entry(path="far/away", digest="etag-1", ref="s3://bucket/away", size=70)
MOVED_ON = Entry(path="far/away", digest="etag-2", ref="s3://bucket/away", size=71)
UNUSABLE = "v0/../x"  # a path that Oxen cannot hold
OLD = {"d/a.bin": b"first", "d/b.bin": b"second", "note": b"abc", UNUSABLE: b"odd"}
NEW = {"d/a.bin": b"FIRST!", "e/b.bin": b"second", "note": b"abc", UNUSABLE: b"odd"}
EXPECTED = {
    Change(kind=Kind.CHANGED, path="d/a.bin", before=5, after=6),
    Change(kind=Kind.RENAMED, path="e/b.bin", was="d/b.bin", before=6, after=6),
    Change(kind=Kind.CHANGED, path="far/away", before=70, after=71),
}


class Told(World):
    """A project of which every kind of name is compared."""

    @property
    def ends(self) -> Ends:
        """Both ends, as the commands open them."""
        return Ends(store=self.store, source=self.source, find=self.find)

    def find(self, ref: ArtifactRef) -> Version:
        """As W&B finds a version."""
        for version in self.source.versions(Target.of(ref)):
            if ref.alias in {version.ref.alias, *version.aliases}:
                return version
        raise NotFoundError(f"{ref}: there is no such version")

    def compare(self, before: str, after: str) -> Compared:
        """Two names."""
        return compared(self.ends, *(self.named(text) for text in (before, after)))

    def named(self, text: str) -> str:
        """In full; `@rev` is in the dataset's repository."""
        return f"oxen://team/proj-ds{text}" if text.startswith("@") else f"team/proj/{text}"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Two versions that moved, the same two again that did not, and their digests of the other kind."""
    made = Told(
        tmp_path_factory.mktemp("sides"),
        select={"min_file_size": 4, "exclude": {"collections": ["waiting*"]}},
    )
    source = made.source
    clean = source.add_run("clean")
    kinds: dict[str, Algorithm] = {"ds": "MD5", "waiting": "MD5", "waiting-xxh": "XXH128"}
    for name, algorithm in kinds.items():
        aliases = ("latest", "first")
        source.log(
            name, OLD, references=[ELSEWHERE], run=clean, algorithm=algorithm, aliases=aliases
        )
        source.log(name, NEW, references=[MOVED_ON], run=clean, algorithm=algorithm)
    assert made.backfill().failures == []
    yield made
    made.catalog.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ds:v0", "ds:v1"),
        ("ds:first", "ds:latest"),  # the replacements
        ("waiting:v0", "waiting:v1"),
        ("waiting-xxh:v0", "waiting-xxh:v1"),
        ("ds:v0", "waiting:v1"),  # by the lineage file's digests
        ("waiting:first", "ds:v1"),
    ],
)
def test_a_difference_is_the_same_wherever_the_files_lie(
    before: str, after: str, told: Told
) -> None:
    """Moved or waiting, by number or alias; references and what Oxen cannot hold included."""
    found = told.compare(before, after)

    assert set(found.difference.changes()) == EXPECTED
    assert found.difference.unchanged.files == 2
    assert found.left_out == ()
    assert told.compare(after, after).difference.equal


@pytest.mark.parametrize(
    ("before", "after"),
    [("@wandb%2Fv0", "@main"), ("@wandb%2Fv0", "ds:v1"), ("@first", "waiting:v1")],
)
def test_a_commit_tells_all_but_what_oxen_does_not_hold(
    before: str, after: str, told: Told
) -> None:
    """Which is left out on both sides, and said."""
    found = told.compare(before, after)

    assert set(found.difference.changes()) == EXPECTED
    assert found.left_out == (UNUSABLE,)


def test_other_digests_are_compared_by_oxens_hashes(told: Told) -> None:
    """W&B's XXH128 is Oxen's; what Oxen does not hold has none, and counts as changed."""
    found = told.compare("ds:v0", "waiting-xxh:v1").difference

    assert {item for item in found.changes() if item.path != UNUSABLE} == EXPECTED


def test_digests_that_have_nothing_in_common_are_no_difference(told: Told) -> None:
    """Nor is a commit that does not tell W&B's: what is not known is not made up."""
    with pytest.raises(PermanentError, match=r"by MD5 and those of .* by XXH128") as caught:
        told.compare("waiting:v0", "waiting-xxh:v0")
    assert "syncd backfill" in caught.value.hint
    repo = side(told.ends, told.named("@main")).commit
    assert repo is not None
    bare = told.store.resolve(repo.repo, "main")
    assert bare is not None
    tree = [entry for entry in told.store.tree(bare.ref) if "lineage" not in entry.path]
    told.store.commit(repo.repo, branch="bare", tree=tree, message="by hand", author=bare.author)
    with pytest.raises(PermanentError, match="no lineage file"):
        told.compare("@bare", "waiting:v1")
    files = {item.path for item in told.compare("ds:v1", "@bare").difference.changes()}
    assert files == {UNUSABLE, "far/away"}  # which the commit says nothing of


def test_a_path_limits_both_sides(told: Told) -> None:
    """A folder, or one file."""
    folder = told.compare("@wandb%2Fv0/d", "ds:v1").difference
    file = told.compare("@wandb%2Fv0/d/a.bin", "@main/d/a.bin")

    assert [(item.kind, item.path) for item in folder.changes()] == [
        (Kind.CHANGED, "a.bin"),
        (Kind.REMOVED, "b.bin"),
    ]
    assert [item.path for item in file.difference.changes()] == ["a.bin"]
    assert b"".join(read(told.ends, file.before, "a.bin")) == b"first"
    assert b"".join(read(told.ends, file.after, "a.bin")) == b"FIRST!"


def test_files_are_read_from_whoever_has_them(told: Told) -> None:
    """References lie elsewhere."""
    found = told.compare("ds:v0", "waiting:v1")

    assert b"".join(read(told.ends, found.before, "d/a.bin")) == b"first"
    assert b"".join(read(told.ends, found.after, "d/a.bin")) == b"FIRST!"
    with pytest.raises(PermanentError, match="reference"):
        read(told.ends, found.after, "far/away")


def test_a_version_that_w_and_b_has_no_more_is_found_by_its_old_name(told: Told) -> None:
    """Through what replaced it."""
    gone = told.source.log("ds", {"z": b"gone for good"}, aliases=())
    assert told.backfill().failures == []
    before = told.compare("ds:v1", gone.ref.alias.join(["ds:", ""])).difference
    told.source.remove(told.source.version(gone.id))

    found = told.compare("ds:v1", f"ds:{gone.ref.alias}")
    assert found.after.source == str(gone.ref)
    assert list(found.difference.changes()) == list(before.changes())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("ds:v99", NotFoundError),
        ("ds:nobody", NotFoundError),
        ("@nobody", NotFoundError),
        ("a/b/c/d:v0", UsageError),
    ],
)
def test_a_name_of_nothing_is_refused(name: str, error: type[Exception], told: Told) -> None:
    """Before anything is compared."""
    with pytest.raises(error):
        told.compare("ds:v0", name)


def test_oxens_names_need_no_w_and_b(told: Told) -> None:
    """And W&B's are refused without it."""
    alone = Ends(store=told.store)
    names = [told.named(text) for text in ("@wandb%2Fv0", "@wandb%2Fv1")]

    assert set(compared(alone, *names).difference.changes()) == EXPECTED
    with pytest.raises(UsageError, match="needs W&B"):
        compared(alone, names[0], told.named("ds:v0"))
