"""Plan: each entry's decision as a table, and where a version goes."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from syncd.clients.artifacts import Version
from syncd.clients.commits import StoredContent, TreeEntry
from syncd.clients.oxen_paths import check_branch
from syncd.config import Config
from syncd.errors import ManifestError, TransientError
from syncd.manifest import Entry, Manifest
from syncd.refs import ArtifactRef, CommitRef, reference_url
from syncd.replacements import CONTENT_KEY
from syncd.stages.plan import destination, place, plan
from syncd.testing import MemoryArtifactSource
from syncd.versions.plans import BATCH, Decision, Digest, PlannedEntry, TransferPlan

RAW = bytes(range(16))
DIGEST = base64.b64encode(RAW).decode()
BASE = "https://data.example/api/repos/team/proj-ds/file/12ab"
MOVE, KEEP, OMIT, REFERENCE, OXEN = Decision


@pytest.fixture
def version() -> Version:
    """`team/proj/ds:v0`."""
    return MemoryArtifactSource().log("ds", {})


def entry(path: str, size: int | None = 9, **fields: Any) -> Entry:
    """An entry of nine bytes, unless told otherwise."""
    return Entry(**{"path": path, "digest": DIGEST, "size": size, **fields})


def planned(version: Version, config: Config, *entries: Entry) -> TransferPlan:
    """The plan of a version with these entries."""
    return plan(version, Manifest(entries={item.path: item for item in entries}), config)


def with_keys(config: Config, **sections: Mapping[str, Any]) -> Config:
    """The configuration with some keys set."""
    document = config.model_dump(mode="json", include={"select", "references", "oxen"})
    return Config.model_validate(
        {name: {**document[name], **sections.get(name, {})} for name in document}
    )


@pytest.mark.parametrize(
    ("item", "decision", "reason"),
    [
        (entry("a.bin"), MOVE, ""),
        (entry("a.bin", 4), MOVE, ""),  # exactly min_file_size
        (entry("a.bin", 3), KEEP, "below min_file_size"),
        (entry("a.bin", 0), KEEP, "below min_file_size"),
        (entry("a.bin", None), KEEP, "below min_file_size"),  # nobody knows how large
        (entry("a.bin", algorithm="XXH128"), MOVE, ""),
        (entry("t.table.json"), KEEP, "kept in W&B by *.table.json"),
        (entry("d/t.table.json"), KEEP, "kept in W&B by *.table.json"),
        (entry("media/images/1.png"), KEEP, "kept in W&B by media/**"),
        (entry("my-media/1.png"), MOVE, ""),
        (entry("../evil"), OMIT, "segment"),
        (entry("a\nb"), OMIT, "control character"),
        (entry("x" * 256), OMIT, "too long"),
        (entry("x" * 250), OMIT, "longer than 240"),  # liboxen needs room for a suffix
        (entry("a\\b"), OMIT, "backslash"),
        (entry(".oxen/config"), OMIT, "Oxen's own folder"),
        (entry(".syncd/lineage.json"), OMIT, ".syncd is the folder of syncd's own files"),
        (entry(".syncd"), OMIT, ".syncd"),
        (entry(".syncd/small", 1), OMIT, ".syncd"),
        (entry("d/.syncd/x"), MOVE, ""),  # only at the root
        (entry(".syncdata"), MOVE, ""),
        (entry("a", ref="s3://bucket/key"), REFERENCE, "already a reference"),
        (entry("a", ref="s3://[bucket/key"), REFERENCE, "already a reference"),  # no URL at all
        (entry("../a", ref="s3://bucket/key"), REFERENCE, "already a reference"),
        (entry("a", ref=f"{BASE}/a", digest="12ab"), OXEN, "already in Oxen"),
        (entry("a", 0, ref=f"{BASE}/a", digest="12ab"), OXEN, "already in Oxen"),
        # The same name on another server is another file.
        (
            entry("a", ref=f"{BASE}/a".replace("example", "example.evil"), digest="12ab"),
            REFERENCE,
            "already a reference",
        ),
        # Another repository's content would have to be brought over.
        (
            entry("a", ref=f"{BASE}/a".replace("proj-ds", "proj-other"), digest="12ab"),
            REFERENCE,
            "already a reference",
        ),
        # Logged with checksum=False, the digest is the URL and no content is named.
        (entry("a", ref=f"{BASE}/a", digest=f"{BASE}/a"), REFERENCE, "already a reference"),
        (entry("a", None, ref=f"{BASE}/a", digest="12ab"), REFERENCE, "already a reference"),
        (entry("a\\b", ref=f"{BASE}/a", digest="12ab"), REFERENCE, "already a reference"),
    ],
    ids=lambda value: value.path[:20] if isinstance(value, Entry) else None,
)
def test_what_happens_to_an_entry_and_why(
    item: Entry, decision: Decision, reason: str, version: Version, config: Config
) -> None:
    """Every decision, with the reason that a person reads."""
    [found] = planned(version, config, item).entries

    assert found.decision is decision
    assert reason in found.reason
    assert bool(found.reason) == (decision is not MOVE)


def test_a_file_that_is_also_a_folder_stays_in_wandb(version: Version, config: Config) -> None:
    """W&B allows `d` beside `d/x`; no file system does. What lies in the folder moves."""
    found = planned(version, config, entry("d"), entry("d/x"), entry("d/y/z"), entry("d/y"))

    assert {item.entry.path: item.decision for item in found.entries} == {
        "d": OMIT,
        "d/x": MOVE,
        "d/y": OMIT,
        "d/y/z": MOVE,
    }
    assert found.entries[0].reason == "the version has a folder of the same name"


def test_a_name_that_only_begins_alike_is_no_folder(version: Version, config: Config) -> None:
    """`d` and `d.bin` live side by side."""
    found = planned(version, config, entry("d"), entry("d.bin"), entry("dd/x"))

    assert {item.decision for item in found.entries} == {MOVE}


def test_the_folder_of_the_tree_counts_towards_a_paths_length(
    version: Version, config: Config
) -> None:
    """What does not fit is known before anything moves."""
    long = "/".join(["x" * 200] * 15)
    deep = with_keys(config, oxen={"path": "y" * 100})

    assert planned(version, config, entry(long)).entries[0].decision is MOVE
    assert planned(version, deep, entry(long)).entries[0].decision is OMIT


def test_the_entries_are_sorted_and_all_there(version: Version, config: Config) -> None:
    """A plan accounts for every path of the manifest."""
    found = planned(version, config, entry("b"), entry("a", 1), entry("c", ref="s3://b/k"))

    assert [item.entry.path for item in found.entries] == ["a", "b", "c"]
    assert (found.moved_bytes, found.kept_bytes) == (9, 1)
    assert planned(version, config, entry("a\\b"), entry("c", 1)).kept_bytes == 10  # it stays, too


@pytest.mark.parametrize(
    ("entries", "skip"),
    [
        ([], "nothing to move: the version is empty"),
        ([entry("a", 1)], "nothing to move: below min_file_size"),
        ([entry("a", ref="s3://b/k")], "nothing to move: already a reference"),
        (
            [entry("a", 1), entry("b", 2), entry("c", ref="s3://b/k")],
            "nothing to move: already a reference, below min_file_size",  # each reason once
        ),
        ([entry("a", 1), entry("b")], ""),  # one file is enough
    ],
)
def test_a_version_with_nothing_to_move_is_skipped_with_the_reasons(
    entries: list[Entry], skip: str, version: Version, config: Config
) -> None:
    """No commit is made for it."""
    assert planned(version, config, *entries).skip == skip


@pytest.mark.parametrize("size", [9, 1])
def test_a_digest_that_nobody_can_check_is_found_at_once(
    size: int, version: Version, config: Config
) -> None:
    """For files that move and files that stay, before the first byte moves."""
    with pytest.raises(ManifestError, match=r"b\.bin"):
        planned(version, config, entry("a"), entry("b.bin", size, digest="not base64"))


def test_a_references_digest_is_anything(version: Version, config: Config) -> None:
    """It is an ETag."""
    found = planned(version, config, entry("a"), entry("b", ref="s3://b/k", digest="W/x"))

    assert not found.skip


@pytest.mark.parametrize(
    ("oxen", "place"),
    [
        ({}, "oxen://team/proj-ds ."),
        ({"namespace": "acme"}, "oxen://acme/proj-ds ."),
        ({"repo": "{entity}.{project}.{type}"}, "oxen://team/team.proj.dataset ."),
        ({"repo": "{project}", "path": "{collection}"}, "oxen://team/proj ds"),
        ({"path": "data/{type}/{collection}"}, "oxen://team/proj-ds data/dataset/ds"),
    ],
)
def test_a_template_names_repository_and_folder(
    oxen: dict[str, str], place: str, version: Version, config: Config
) -> None:
    """With the names of the version filled in."""
    found = planned(version, with_keys(config, oxen=oxen), entry("a.bin"))
    repo, prefix = place.split()

    assert (str(found.repo), found.prefix or ".") == (repo, prefix)
    assert found.tree_path("a.bin") == ("a.bin" if prefix == "." else f"{prefix}/a.bin")


def test_names_that_no_repository_may_have_still_get_one_each(config: Config) -> None:
    """A collection's name may hold anything."""
    source = MemoryArtifactSource()
    names = ["a b", "a-b", "a  b", "ä"]
    made = {destination(source.log(name, {}), config)[0].repo for name in names}

    assert len(made) == len(names)
    assert all(name.isascii() and " " not in name for name in made)


def test_names_that_no_namespace_or_folder_may_have_still_get_one_each(config: Config) -> None:
    """A folder `..` would lead out of the tree."""
    source = MemoryArtifactSource()
    shared = with_keys(config, oxen={"path": "{collection}"})
    names = ["..", ".", "a b", "a-b"]
    folders = [destination(source.log(name, {}), shared)[1] for name in names]
    team = place(
        ArtifactRef(entity="My Team", project="p", collection="c", alias="v0"), "t", shared
    )

    assert len(set(folders)) == len(folders)
    for name in (team[0].namespace, *folders):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)


def test_the_branch_is_the_configured_one(version: Version, config: Config) -> None:
    """Where people look."""
    assert planned(version, with_keys(config, oxen={"branch": "trunk"})).branch == "trunk"


@pytest.mark.parametrize(
    ("branch", "wanted"),
    [
        ("candidate/{version}", "candidate/v0"),
        ("new/{type}/{entity}-{project}/{collection}/{version}", "new/dataset/team-proj/a-20b/v0"),
    ],
)
def test_a_branch_with_fields_is_the_versions_own(branch: str, wanted: str, config: Config) -> None:
    """In a name that Oxen takes, whatever the collection is called; main is another one."""
    source = MemoryArtifactSource()
    version = source.log("a b", {})
    oxen = {"branch": branch, "main": "trunk"}
    made = plan(version, source.manifest(version), with_keys(config, oxen=oxen))

    assert check_branch(wanted) == made.branch
    assert made.main == "trunk"


def test_an_entrys_identity_is_its_digest_in_its_algorithm() -> None:
    """MD5 and XXH128 of the same bits are two contents."""
    md5 = PlannedEntry(entry=entry("a"), decision=MOVE)
    xxh = PlannedEntry(entry=entry("b", algorithm="XXH128"), decision=MOVE)

    assert md5.digest == ("MD5", RAW.hex())
    assert xxh.digest == ("XXH128", RAW.hex())


def test_the_tree_holds_moved_kept_and_linked_files(version: Version, config: Config) -> None:
    """A commit is complete as far as Oxen can hold it; references elsewhere are no files."""
    found = planned(
        version,
        with_keys(config, oxen={"path": "in"}),
        entry("moved"),
        entry("small", 3),
        entry("linked", ref=f"{BASE}/in/linked", digest="cafe"),
        entry(
            "named", ref=f"{BASE}/in/named", digest=f"{BASE}/in/named", extra={CONTENT_KEY: "beef"}
        ),
        entry("elsewhere", ref="s3://b/k"),
        entry("a\\b"),
    )
    stored = StoredContent(hash="12ab", size=9)

    assert list(found.tree(lambda digests: dict.fromkeys(digests, stored))) == [
        TreeEntry(path="in/linked", hash="cafe", size=9),
        TreeEntry(path="in/moved", hash="12ab", size=9),
        TreeEntry(path="in/named", hash="beef", size=9),
        TreeEntry(path="in/small", hash="12ab", size=9),
    ]


def test_a_reference_that_a_replacement_holds_is_found_to_be_in_oxen(
    version: Version, config: Config
) -> None:
    """A draft of a replacement carries it on."""
    first = planned(version, config, entry("a b#c"))
    commit = CommitRef(repo=first.repo, commit="12ab")
    url = reference_url(config.references.base_url, commit, "a b#c")

    [found] = planned(version, config, entry("a b#c", ref=url, digest="12ab")).entries

    assert found.decision is OXEN


# --- many entries


def test_a_file_beside_a_folder_of_its_name_is_found_whatever_stands_between(
    version: Version, config: Config
) -> None:
    """`a-`, `a.b` and their like sort between `a` and `a/b`."""
    paths = ["a", "a-", "a-/x", "a.b", "a/b", "a/b/c", "ab", "b", "b.c"]
    found = planned(version, config, *map(entry, paths))

    assert [item.entry.path for item in found.of(Decision.OMIT)] == ["a", "a-", "a/b"]


def test_a_plan_is_gone_through_again_and_again(version: Version, config: Config) -> None:
    """By position, by decision and whole, with the same answers."""
    entries = [entry(f"{number:04}", number % 3 * 5) for number in range(1500)]
    found = planned(version, config, *entries)
    moved = found.of(MOVE)

    assert list(found.entries) == list(found.entries) == found.entries[:]
    assert found.entries[-1] == found.entries[1499]
    assert list(moved) == list(moved) == [i for i in found.entries if i.decision is MOVE]
    assert len(moved) == 1000
    assert [len(batch) for batch in moved.batches(400)] == [400, 400, 200]
    assert found.moved_bytes == sum(item.entry.size or 0 for item in moved)
    assert found.bytes_of(MOVE, Decision.KEEP) == found.manifest.size


def test_any_number_of_different_reasons_is_told_apart(version: Version, config: Config) -> None:
    """A byte an entry has room for 255; the others are kept beside it."""
    found = planned(version, config, entry("z"), *(entry(f"{n:03}\\") for n in range(300)))
    reasons = [item.reason for item in found.of(Decision.OMIT)]

    assert len(found.entries) == 301
    assert all(f"{number:03}" in reason for number, reason in enumerate(reasons))
    assert len(set(reasons)) == 300
    assert [item.entry.path for item in found.of(MOVE)] == ["z"]


def test_what_oxen_holds_is_asked_for_in_batches(version: Version, config: Config) -> None:
    """Not a request an entry, and not all at once."""
    many = 2 * BATCH + 1
    asked: list[int] = []

    def contents(digests: Collection[Digest]) -> dict[Digest, StoredContent]:
        asked.append(len(digests))
        return {digest: StoredContent(hash="12ab", size=9) for digest in digests}

    names = {f"{n:05}": base64.b64encode(n.to_bytes(16, "big")).decode() for n in range(many)}
    found = planned(version, config, *(entry(p, digest=name) for p, name in names.items()))

    assert [item.path for item in found.tree(contents)] == list(names)
    assert asked == [BATCH, BATCH, 1]


def test_a_content_that_is_not_known_any_more_is_worth_another_try(
    version: Version, config: Config
) -> None:
    """The state was deleted between two stages."""
    found = planned(version, config, entry("a"))

    with pytest.raises(TransientError, match="the state was lost"):
        list(found.tree(lambda _digests: {}))
