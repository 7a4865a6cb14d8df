"""Manifests: read and written as the SDK does, whatever stands in them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wandb.sdk.artifacts._generated import ArtifactDigestAlgorithm
from wandb.sdk.artifacts.artifact_manifests.artifact_manifest_v1 import ArtifactManifestV1

from syncd.errors import ManifestError
from syncd.manifest import (
    Entries,
    Entry,
    Manifest,
    compare,
    from_json,
    manifest_digest,
    to_json,
)

PATIENT = [HealthCheck.too_slow]  # the machine may be busy
MD5 = "XUFAKrxLKna5cZ2REBfFkg=="  # of b"hello"
XXH128 = "tenBrQcbPn/Hec+qXlI4GA=="  # of b"hello", as W&B writes it
EMPTY_ARTIFACT = "64e7c61456b10382e2f3b571ac24b659"  # W&B's own, for a version without files

MANIFEST = Manifest(
    entries={
        "a.bin": Entry(path="a.bin", digest=MD5, size=5, birth_artifact_id="QXJ0aWZhY3Q6MQ=="),
        "d/x": Entry(
            path="d/x", digest=XXH128, size=5, algorithm="XXH128", extra={"alg": "XXH128"}
        ),
        "link": Entry(path="link", digest="etag", ref="s3://b/k", extra={"etag": '"e"'}),
        "empty": Entry(path="empty", digest=MD5, size=0),
    },
    storage_policy_config={"storageLayout": "V2"},
)

SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# Nearly a manifest: the right keys, with values that may be right.
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "digest": st.sampled_from([MD5, "", "ä", "====", "AAAA"]) | JSON,
        "size": st.sampled_from([5, "5", -1, 1.5, "9" * 5000, "²", True]) | JSON,
        "ref": st.sampled_from(["s3://b/k", "s3://[b"]) | JSON,
        "birthArtifactID": st.just("QQ==") | JSON,
        "extra": st.sampled_from([{"alg": "XXH128"}, {"alg": []}]) | JSON,
    },
)
NEARLY = st.fixed_dictionaries(
    {"version": st.just(1), "contents": st.dictionaries(st.text(), ENTRY | JSON, max_size=3)},
    optional={"storagePolicyConfig": st.just({"storageLayout": "V2"}) | JSON},
)


def document(**entry: Any) -> dict[str, Any]:
    """A manifest of one entry `a`."""
    return {"version": 1, "contents": {"a": entry}}


# --- digests


def test_the_digest_of_an_empty_version_is_wandbs() -> None:
    """The one that its server answers with."""
    assert manifest_digest([]) == EMPTY_ARTIFACT


@settings(max_examples=40, deadline=None, suppress_health_check=PATIENT)
@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5))
def test_the_digest_of_any_version_is_the_sdks(digests: dict[str, str]) -> None:
    """In whatever order the entries come."""
    theirs = ArtifactManifestV1.from_manifest_json(
        {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": {path: {"digest": digest} for path, digest in digests.items()},
        },
        digest_algorithm=ArtifactDigestAlgorithm.MANIFEST_MD5,
    )
    ours = [Entry(path=path, digest=digest) for path, digest in reversed(digests.items())]

    assert manifest_digest(ours) == theirs.digest()


def test_a_digest_is_read_as_hex() -> None:
    """The form that hashlib and the catalog use."""
    assert Entry(path="a", digest=MD5).hex_digest == "5d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "not base64!",
        "5d41402abc4b2a76b9719d911017c592",  # hex is base64 too, but of 24 bytes
        "AAAA",  # too short
        f"{MD5}\n",
        "ä",
    ],
)
def test_a_digest_of_other_than_128_bits_is_refused(digest: str) -> None:
    """Nobody could check the bytes against it."""
    with pytest.raises(ManifestError, match="'a'"):
        _ = Entry(path="a", digest=digest).hex_digest


# --- documents


def test_a_manifest_is_read_as_it_was_written() -> None:
    """Through JSON text, as it is stored."""
    assert from_json(json.loads(json.dumps(to_json(MANIFEST)))) == MANIFEST


def test_the_sdk_reads_what_is_written() -> None:
    """Paths, digests, sizes, references and algorithms."""
    theirs = ArtifactManifestV1.from_manifest_json(to_json(MANIFEST))

    assert theirs.digest() == manifest_digest(MANIFEST.entries.values())
    assert {
        path: (item.digest, item.size, item.ref, item.birth_artifact_id, dict(item.extra))
        for path, item in theirs.entries.items()
    } == {
        path: (item.digest, item.size, item.ref, item.birth_artifact_id, dict(item.extra))
        for path, item in MANIFEST.entries.items()
    }


def test_a_manifest_of_many_entries_is_read_as_it_was_written() -> None:
    """It is written in pieces."""
    entries = [Entry(path=f"d/{number:05}", digest=MD5, size=number) for number in range(2000)]
    manifest = Manifest(entries={entry.path: entry for entry in entries})

    assert from_json(to_json(manifest)) == manifest


def test_the_size_is_that_of_all_entries_references_included() -> None:
    """As far as W&B says."""
    link = replace(MANIFEST.entries["link"], size=7)
    entries = [*MANIFEST.entries.values(), link, Entry(path="x", digest="e", ref="s3://b/x")]

    assert Manifest(entries=Entries.of(entries)).size == 5 + 5 + 7


def test_the_document_is_the_same_whatever_the_order_of_entries() -> None:
    """Written again after a kill, its bytes have the same MD5."""
    backwards = Manifest(
        entries=dict(reversed(list(MANIFEST.entries.items()))),
        storage_policy_config=MANIFEST.storage_policy_config,
    )

    assert json.dumps(to_json(backwards)) == json.dumps(to_json(MANIFEST))


def test_what_only_the_uploader_knew_is_left_out() -> None:
    """wandb-core stores the path on the machine that logged the file."""
    written = to_json(from_json(document(digest=MD5, local_path="/home/ann/a", skip_cache=False)))

    assert written["contents"] == {"a": {"digest": MD5}}


@pytest.mark.parametrize(
    ("size", "read"), [(5, 5), (0, 0), ("5", 5), (None, None)]
)  # text is what the SDK stores of an HTTP reference's Content-Length
def test_a_size_is_a_number_of_bytes(size: object, read: int | None) -> None:
    """Or unknown."""
    assert from_json(document(digest=MD5, size=size)).entries["a"].size == read


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (None, "version 1"),
        ([], "version 1"),
        ({"version": 2, "contents": {}}, "version 1"),
        ({"version": "1", "contents": {}}, "version 1"),
        ({"version": 1}, "no contents"),
        ({"version": 1, "contents": []}, "no contents"),
        ({"version": 1, "contents": {}, "storagePolicyConfig": []}, "no contents"),
        ({"version": 1, "contents": {"a": []}}, "no digest"),
        (document(), "no digest"),
        (document(digest=5), "no digest"),
        (document(digest=MD5, size=-1), "size"),
        (document(digest=MD5, size=1.5), "size"),
        (document(digest=MD5, size=True), "size"),
        (document(digest=MD5, size="5 bytes"), "size"),
        (document(digest=MD5, size="²"), "size"),  # a digit, and no number
        (document(digest=MD5, size="9" * 5000), "size"),  # int() refuses it, too
        (document(digest=MD5, extra={"alg": "SHA256"}), "algorithm"),
        (document(digest=MD5, extra=["alg"]), "algorithm"),
        (document(digest=MD5, ref={"url": "s3://b/k"}), "ref"),
        (document(digest=MD5, birthArtifactID=7), "birthArtifactID"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_reason(wrong: object, complaint: str) -> None:
    """A half-read manifest would lose files."""
    with pytest.raises(ManifestError, match=complaint):
        from_json(wrong)


@settings(max_examples=200, deadline=None, suppress_health_check=PATIENT)
@example({"version": 1, "contents": {"": {"digest": "ä"}}})
@given(NEARLY | JSON)
def test_any_json_is_a_manifest_or_refused_as_none(hostile: object) -> None:
    """Never another exception, and what was read can be used and written again."""
    try:
        manifest = from_json(hostile)
    except ManifestError:
        return
    assert from_json(to_json(manifest)) == manifest
    assert manifest.size >= 0
    assert len(manifest_digest(manifest.entries.values())) == 32
    for entry in manifest.entries.values():
        assert entry.is_reference == isinstance(entry.ref, str)
        try:
            found = entry.hex_digest
        except ManifestError:
            continue
        assert base64.b64decode(entry.digest).hex() == found


# --- comparing


@pytest.mark.parametrize(
    ("left", "right", "ok", "new_missing_changed"),
    [
        ("", "", 0, ("", "", "")),
        ("b1 a1", "a1 b1", 2, ("", "", "")),
        ("", "b1 a1", 0, ("ab", "", "")),
        ("b1 a1", "", 0, ("", "ab", "")),
        ("a1 b1", "a2 b2", 0, ("", "", "ab")),
        ("a1 b1 c1", "b2 c1 d1", 1, ("d", "a", "b")),
    ],
)
def test_comparing_tells_each_path_once(
    left: str, right: str, ok: int, new_missing_changed: tuple[str, str, str]
) -> None:
    """Sorted, and equal only when nothing differs."""

    def version(text: str) -> Manifest:
        return Manifest(entries={w[0]: Entry(path=w[0], digest=w[1]) for w in text.split()})

    found = compare(version(left), version(right))

    assert found.ok == ok
    assert (found.new, found.missing, found.changed) == tuple(map(tuple, new_missing_changed))
    assert found.equal == (sorted(left.split()) == sorted(right.split()))


def test_the_same_bits_in_another_algorithm_are_another_content() -> None:
    """An MD5 says nothing about an XXH128."""
    entry = Entry(path="a", digest=MD5)
    changed = replace(entry, algorithm="XXH128")

    assert compare(Manifest(entries={"a": entry}), Manifest(entries={"a": changed})).changed == (
        "a",
    )
