"""Pointers: no version that another one needs is overlooked, however its text comes."""

from __future__ import annotations

import base64

import pytest

from syncd.clients.artifacts import Version
from syncd.errors import NotFoundError
from syncd.manifest import Entry, Manifest
from syncd.testing import MemoryArtifactSource, MemoryVersionStore
from syncd.versions.pointers import Pointers

IDS = [base64.b64encode(f"Artifact:{number}".encode()).decode() for number in (7, 123456789)]


def url(artifact_id: str) -> str:
    """How the SDK refers to a version."""
    return f"wandb-artifact://{base64.b64decode(artifact_id).hex()}/t.table.json"


def found(
    source: MemoryArtifactSource, version: Version, manifest: Manifest | None = None
) -> set[str]:
    """What a version points to."""
    return Pointers(source, MemoryVersionStore()).of(version, manifest or source.manifest(version))


def test_references_of_a_manifest_are_pointers() -> None:
    """Others are not."""
    source = MemoryArtifactSource()
    references = [Entry(path=f"{n}", digest="d", ref=url(item)) for n, item in enumerate(IDS)]
    references += [
        Entry(path="s3", digest="d", ref="s3://wandb-artifact://00aa/x"),
        Entry(path="odd", digest="d", ref="wandb-artifact://abc/x"),
        Entry(path="none", digest="d", ref="wandb-artifact://"),
    ]

    assert found(source, source.log("ds", {"a": b"1"}, references=references)) == set(IDS)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("place", [0, 3, 150, 161, 5000])
def test_pointers_in_objects_are_found_wherever_they_are_cut(place: int, size: int) -> None:
    """At the beginning, the end, and between pieces."""
    source = MemoryArtifactSource(chunk_size=size)
    text = ("x" * place + " ".join(url(item) for item in IDS)).encode()

    assert found(source, source.log("ds", {"media/a.table.json": text})) == set(IDS)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("t.table.json", True),
        ("t.joined-table.json", True),
        ("t.partitioned-table.json", True),
        ("a/b.image-file.json", True),
        ("m.classes.json", True),
        ("annotations.json", False),  # a user's own
        ("t.table.json.gz", False),
        ("table.json", False),
    ],
)
def test_only_objects_of_wandb_are_read(name: str, *, read: bool) -> None:
    """A dataset may have a million JSON files."""
    source = MemoryArtifactSource()
    version = source.log("ds", {name: url(IDS[0]).encode()})

    assert found(source, version) == ({IDS[0]} if read else set())
    assert source.calls["read"] == int(read)


def test_an_object_in_many_versions_is_read_once() -> None:
    """A draft takes its tables along."""
    source = MemoryArtifactSource()
    first = source.log("ds", {"t.table.json": url(IDS[0]).encode()})
    second = source.log("ds", {"more": b"1"}, draft_of=first)
    pointers = Pointers(source, MemoryVersionStore())

    assert [pointers.of(v, source.manifest(v)) for v in (first, second)] == [{IDS[0]}] * 2
    assert source.calls["read"] == 1


def test_an_object_that_cannot_be_read_is_an_error() -> None:
    """Then nobody knows what it points to."""
    source = MemoryArtifactSource()
    version = source.log("ds", {"t.table.json": b"{}"})
    source._bytes.clear()

    with pytest.raises(NotFoundError):
        found(source, version)
