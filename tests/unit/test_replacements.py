"""The key `oxen`: what is written is read, and what others wrote is not taken for ours."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.entry import Entry
from syncd.manifest import Manifest
from syncd.refs import CommitRef, RepoRef
from syncd.replacements import (
    CONTENT_KEY,
    KEY,
    Logged,
    Published,
    Reclaimed,
    Replacement,
    Restored,
    Returned,
    commit_of,
    linked_content,
    published_of,
    replacement_of,
    restored_into,
    restored_of,
    returned_of,
    version_digest,
)

PATIENT = [HealthCheck.too_slow]  # the machine may be busy
DIGEST = "00ff" * 8
LINK = Replacement(
    commit=CommitRef(repo=RepoRef(namespace="team", repo="proj-ds"), commit="12ab"),
    url="http://x/api/repos/team/proj-ds/file/12ab/.syncd/lineage.json",
    source_version="team/proj/ds:v0",
    source_artifact_id="QXJ0aWZhY3Q6MQ==",
    source_digest="ab" * 16,
    source_created_at="2026-01-01T00:00:00Z",
    moved_files=2,
    moved_bytes=1 << 40,
    digest=DIGEST,
    receipt={"tree": "ff", "files": 3},
)
LOGGED = Logged(version="team/proj/ds:v7", artifact_id="y", created_at="2025-01-01")
COMPLETE = LINK.into({})[KEY] | {"complete": True}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("complete", [False, True])
def test_a_replacement_is_read_as_it_was_written(complete: bool) -> None:
    """Through JSON text, beside what people wrote."""
    link = replace(LINK, complete=complete)
    metadata = json.loads(json.dumps(link.into({"rows": 5})))

    assert metadata["rows"] == 5
    assert replacement_of(metadata, DIGEST) == link


@pytest.mark.parametrize(
    "marks",
    [
        {
            "reclaimed": Reclaimed(
                at="2026-03-01T00:00:00+00:00", how="ttl", bytes=7, ttl_seconds=60
            )
        },
        {"restored": Restored(at="2026-03-01T00:00:00+00:00")},
        {
            "reclaimed": Reclaimed(at="2026-03-01T00:00:00+00:00", how="delete", bytes=7),
            "restored": Restored(at="2026-04-01", artifact_id="x", version="team/proj/ds:v2"),
        },
        {"logged": LOGGED},
    ],
)
def test_what_became_of_the_version_is_read_as_it_was_written(marks: dict[str, Any]) -> None:
    """That it was taken out, and that it came back."""
    link = replace(LINK, **marks)

    assert replacement_of(json.loads(json.dumps(link.into({}))), DIGEST) == link


@pytest.mark.parametrize(
    "item",
    [
        5,
        {},
        {"at": 1},
        {"at": "x", "how": "x", "bytes": 7, "ttl_seconds": 1},
        {"at": "2026-03-01", "how": "ttl", "bytes": float("inf"), "ttl_seconds": 1},
    ],
    ids=str,
)
def test_a_mark_that_cannot_be_read_makes_it_no_less_a_replacement(item: Any) -> None:
    """It would be moved a second time else."""
    metadata = {KEY: {**LINK.into({})[KEY], "reclaimed": item, "restored": item}}

    assert replacement_of(metadata, DIGEST) == LINK


def test_a_mark_on_the_version_itself_is_no_copys() -> None:
    """Drafts copy metadata."""
    mark = Restored(at="2026-03-01T00:00:00+00:00")
    of = Returned(commit=LINK.commit, logged=LOGGED)
    metadata = json.loads(json.dumps(restored_into({"rows": 5}, mark, DIGEST, of)))

    assert metadata["rows"] == 5
    assert restored_of(metadata, DIGEST) == mark
    assert returned_of(metadata, DIGEST) == of
    assert returned_of(metadata, "another digest") is None
    older = {KEY: {"digest": DIGEST, "restored": metadata[KEY]["restored"]}}
    assert (restored_of(older, DIGEST), returned_of(older, DIGEST)) == (mark, None)
    assert restored_of(metadata, "another digest") is None
    assert replacement_of(metadata, DIGEST) is None
    for other in (
        {},
        {KEY: 5},
        {KEY: {"digest": DIGEST}},
        {KEY: {"digest": DIGEST, "restored": {}}},
    ):
        assert restored_of(other, DIGEST) is None


def test_a_version_that_was_born_in_oxen_is_read_as_it_was_written() -> None:
    """And no draft of it, no replacement, and no key of others."""
    born = Published(commit=LINK.commit, url=LINK.url, digest=DIGEST)
    metadata = json.loads(json.dumps(born.into({"rows": 5})))

    assert metadata["rows"] == 5
    assert published_of(metadata, DIGEST) == born
    assert commit_of(metadata, DIGEST) == commit_of(LINK.into({}), DIGEST) == LINK.commit
    assert published_of(metadata, "another digest") is None  # drafts copy metadata
    assert replacement_of(metadata, DIGEST) is None
    assert published_of(LINK.into({}), DIGEST) is None
    for other in ({}, {KEY: 5}, {KEY: metadata[KEY] | {"repo": "no repository"}}):
        assert published_of(other, DIGEST) is None
        assert commit_of(other, DIGEST) is None


@pytest.mark.parametrize(
    ("digest", "extra", "content"),
    [
        ("12ab", {}, "12ab"),
        ("12ab", {CONTENT_KEY: "34cd"}, "12ab"),
        ("https://oxen.example/api/x", {CONTENT_KEY: "34cd"}, "34cd"),
        ("https://oxen.example/api/x", {}, None),
        ("https://oxen.example/api/x", {CONTENT_KEY: "no hash"}, None),
        ("https://oxen.example/api/x", {CONTENT_KEY: 5}, None),
        ("12AB", {}, None),  # Oxen writes them in lower case
        ("", {}, None),
    ],
)
def test_the_content_of_a_reference_is_its_digest_or_stands_beside_it(
    digest: str, extra: dict[str, Any], content: str | None
) -> None:
    """Nothing else is taken for a hash."""
    assert linked_content(Entry(path="a", digest=digest, ref="http://x", extra=extra)) == content


def test_a_versions_digest_is_of_its_collections_algorithm() -> None:
    """W&B has two, and knows a version again by it."""
    manifest = Manifest(entries={"a": Entry(path="a", digest="12ab")})
    text = b"wandb-artifact-manifest-v1\na:12ab\n"

    assert version_digest(manifest, "MANIFEST_MD5") == hashlib.md5(text).hexdigest()
    assert version_digest(manifest, "MANIFEST_XXH128") == xxhash.xxh3_128_hexdigest(text)


def test_the_metadata_it_is_written_into_stays_as_it_was() -> None:
    """It belongs to the source version."""
    metadata: dict[str, Any] = {"rows": 5, KEY: "old"}
    LINK.into(metadata)

    assert metadata == {"rows": 5, KEY: "old"}


def test_copied_metadata_does_not_make_a_draft_a_replacement() -> None:
    """`new_draft()` copies metadata; its new files must be moved."""
    assert replacement_of(LINK.into({}), "another digest") is None


@pytest.mark.parametrize(
    "change",
    [
        *({key: None} for key in ("repo", "commit", "moved_files", "moved_bytes", "digest")),
        {"repo": "team/proj-ds"},
        {"repo": "oxen://team"},
        {"commit": ""},
        {"commit": "a/b"},  # would be read as a path
        {"moved_files": "many"},
        {"moved_bytes": []},
        {"moved_bytes": float("inf")},
        {"receipt": "yes"},
        {"receipt": [1]},
    ],
    ids=str,
)
def test_a_key_that_syncd_did_not_write_is_no_replacement(change: dict[str, Any]) -> None:
    """Another tool may use the same name."""
    assert replacement_of({KEY: COMPLETE | change}, DIGEST) is None


@pytest.mark.parametrize("key", sorted(COMPLETE.keys() - {"receipt", "complete"}))
def test_a_key_with_a_part_missing_is_no_replacement(key: str) -> None:
    """All of it, or none."""
    part = {name: value for name, value in COMPLETE.items() if name != key}

    assert replacement_of({KEY: part}, DIGEST) is None


@pytest.mark.parametrize("value", [1, "true", None, []])
def test_only_true_means_complete(value: object) -> None:
    """What is unsure is done again, which does no harm."""
    link = replacement_of({KEY: COMPLETE | {"complete": value}}, DIGEST)

    assert link is not None
    assert not link.complete


@settings(max_examples=150, deadline=None, suppress_health_check=PATIENT)
@given(
    JSON
    | st.builds(
        lambda change: {**COMPLETE, **change},
        st.dictionaries(st.sampled_from(sorted(COMPLETE)), JSON, max_size=3),
    )
)
def test_garbage_under_the_key_never_raises(garbage: object) -> None:
    """Metadata is anybody's."""
    link = replacement_of({KEY: garbage}, DIGEST)

    assert link is None or replacement_of(link.into({}), DIGEST) == link
