"""Versions leave W&B and come back: the same promises from the double and from a real server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace as changed

import pytest
import xxhash
from contract_sources import SandboxWorld, World

from syncd.clients.protocols import Version
from syncd.clients.wandb_session import WandbSession
from syncd.clients.wandb_uploads import WandbUploads
from syncd.errors import NotFoundError, PermanentError, SyncdError, VerificationError
from syncd.manifest import Algorithm, Entry, Manifest
from syncd.refs import RunRef, Target
from syncd.replacements import XXH128, version_digest

MAKER = RunRef(entity="team", project="proj", run_id="maker")
DS = Target.parse("team/proj/ds")
FILES = {"a": b"first " * 1000, "b": b"", "d/c": b"third", "e": b"third"}


def fresh(files: dict[str, bytes], algorithm: Algorithm = "MD5") -> Manifest:
    """A manifest whose files are nowhere yet."""
    entries = {}
    for path, data in files.items():
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        raw = md5 if algorithm == "MD5" else xxhash.xxh3_128_digest(data)
        entries[path] = Entry(
            path=path,
            digest=base64.b64encode(raw).decode(),
            size=len(data),
            algorithm=algorithm,
            extra={} if algorithm == "MD5" else {"alg": algorithm},
        )
    return Manifest(entries=entries, storage_policy_config={"storageLayout": "V2"})


def draft(like: Version, manifest: Manifest) -> Version:
    """What is logged: in the collection and by the run of a version that is there."""
    return changed(
        like,
        id="",
        digest=version_digest(manifest, like.digest_algorithm),
        tags=("gold",),
        description="back",
        metadata={"rows": 5},
        ttl_seconds=3600,
        history_step=2,
        run=MAKER,
    )


def contents(world: World, version: Version) -> dict[str, bytes]:
    """The files of a version as they are read back."""
    entries = world.source.manifest(version).entries.values()
    return {entry.path: b"".join(world.source.read(version, entry)) for entry in entries}


def test_a_version_is_uploaded_with_all_that_is_said_of_it(world: World) -> None:
    """Files, digest, run, tags, description, metadata, TTL; no alias moves."""
    one = world.log("ds", b"1", ["latest"])
    manifest = fresh(FILES)
    made = world.source.upload(draft(one, manifest), manifest, lambda e: iter([FILES[e.path]]))

    assert contents(world, made) == FILES
    assert (made.digest, made.ref.alias, made.aliases) == (manifest.digest(), "v1", ())
    assert (made.run, made.tags, made.description) == (MAKER, ("gold",), "back")
    assert (made.metadata, made.ttl_seconds, made.history_step) == ({"rows": 5}, 3600, 2)
    entries = world.source.manifest(made).entries.values()
    assert {entry.birth_artifact_id for entry in entries} == {made.id}
    assert world.source.version(one.id).aliases == ("latest",)
    assert made in world.source.run(MAKER).outputs


def test_what_wandb_holds_is_not_read_nor_sent(world: World) -> None:
    """Files that another version has, entries that were born before, and the version itself."""
    one = world.log("ds", b"1", ["latest"])
    manifest = fresh({"f": b"1", "new": b"2"})
    [held] = world.source.manifest(one).entries.values()
    kept = Manifest(
        entries={**manifest.entries, "kept": changed(held, path="kept")},
        storage_policy_config=manifest.storage_policy_config,
    )
    asked: list[str] = []

    def read(entry: Entry) -> Iterator[bytes]:
        asked.append(entry.path)
        return iter([b"2"])

    made = world.source.upload(draft(one, kept), kept, read)
    again = world.source.upload(draft(one, kept), kept, read)

    assert asked == ["new"]
    assert again.id == made.id
    assert contents(world, made) == {"f": b"1", "new": b"2", "kept": b"1"}
    assert world.source.manifest(made).entries["kept"].birth_artifact_id == one.id


def test_bytes_that_cannot_be_had_make_no_version(world: World) -> None:
    """The next attempt makes it, once."""
    one = world.log("ds", b"1", ["latest"])
    manifest = fresh(FILES)

    def broken(entry: Entry) -> Iterator[bytes]:
        yield FILES[entry.path][:3]
        raise VerificationError("damaged")

    with pytest.raises(VerificationError):
        world.source.upload(draft(one, manifest), manifest, broken)
    assert [v.ref.alias for v in world.source.versions(DS)] == ["v0"]
    made = world.source.upload(draft(one, manifest), manifest, lambda e: iter([FILES[e.path]]))
    assert [v.id for v in world.source.versions(DS)] == [one.id, made.id]


def test_a_version_without_aliases_is_removed(world: World) -> None:
    """One with an alias is not; what is gone is nowhere, and its number is not given again."""
    one, two = world.log("ds", b"1", ["first"]), world.log("ds", b"2", ["latest"])
    with pytest.raises(PermanentError):
        world.source.remove(one)
    world.source.move_aliases(two, ["first"])
    world.source.record_use(MAKER, one)
    world.source.remove(world.source.version(one.id))

    assert [v.id for v in world.source.versions(DS)] == [two.id]
    assert one.id not in {v.id for v in world.source.run(MAKER).inputs}
    for ask in (world.source.uses, world.source.memberships):
        with pytest.raises(SyncdError):
            ask(one)
    with pytest.raises(NotFoundError):
        world.source.version(one.id)
    assert world.log("ds", b"3").ref.alias == "v2"


def test_files_of_a_removed_version_stay_where_they_are_needed(world: World) -> None:
    """A draft's entries name the version that they were born in."""
    one = world.log("ds", b"1")
    manifest = Manifest(
        entries={**world.source.manifest(one).entries, **fresh({"more": b"2"}).entries},
        storage_policy_config={"storageLayout": "V2"},
    )
    made = world.source.upload(draft(one, manifest), manifest, lambda _e: iter([b"2"]))
    world.source.remove(one)

    assert contents(world, made) == {"f": b"1", "more": b"2"}


@pytest.mark.parametrize("seconds", [3600, -2, -1])
def test_a_time_to_live_is_set_and_taken_back(world: World, seconds: int) -> None:
    """Off, and inherited, too; nothing else changes."""
    one = world.log("ds", b"1", ["latest"])
    world.source.set_ttl(one, 60)
    world.source.set_ttl(one, seconds)

    assert world.source.version(one.id) == changed(one, ttl_seconds=seconds)


def test_uses_have_the_times_of_their_runs(world: World) -> None:
    """As text that compares."""
    one = world.log("ds", b"1")
    assert list(world.source.uses(one)) == []
    world.source.record_use(MAKER, one)
    [use] = world.source.uses(one)

    assert use.run == MAKER
    assert "2026" <= use.began_at[:4] <= use.active_at[:4]
    assert use.began_at <= use.active_at


# --- large files, on the real server


@pytest.fixture
def uploads(world: World) -> Iterator[WandbUploads]:
    """Files of more than ten bytes go in parts of four."""
    if not isinstance(world, SandboxWorld):
        pytest.skip("the double knows no parts")
    session = WandbSession(world.base_url, world.key)
    made = WandbUploads(session, whole_up_to=10, part=4)
    yield made
    made.close()
    session.close()


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_large_files_go_in_parts(world: World, uploads: WandbUploads, algorithm: Algorithm) -> None:
    """Whatever pieces they are read in, whether or not the last part is full."""
    assert isinstance(world, SandboxWorld)
    files = {"12": b"abcdefghijkl", "13": b"abcdefghijklm", "ten": b"0123456789", "none": b""}
    manifest = fresh(files, algorithm)
    name = changed(world.log("ds", b"1").ref, collection=f"new-{algorithm}")
    like = changed(
        draft(world.log("ds", b"2"), manifest),
        ref=name,
        digest_algorithm=XXH128 if algorithm == "XXH128" else "MANIFEST_MD5",
    )

    def read(entry: Entry) -> Iterator[bytes]:
        data = files[entry.path]
        return iter([data[:5], data[5:6], data[6:]])

    made = world.source.version(uploads.upload(like, manifest, read))

    assert contents(world, made) == files
    assert uploads.upload(like, manifest, read) == made.id


def test_an_old_signed_url_is_asked_for_anew(world: World, uploads: WandbUploads) -> None:
    """An upload may wait behind others for longer than its URL is good."""
    assert isinstance(world, SandboxWorld)
    one = world.log("ds", b"1")
    manifest = fresh({"whole": b"whole", "parts": b"in some parts"})
    data = {"whole": b"whole", "parts": b"in some parts"}
    world.fault("upload:*", "status:403", times=2)
    made = uploads.upload(draft(one, manifest), manifest, lambda e: iter([data[e.path]]))

    assert contents(world, world.source.version(made)) == data
