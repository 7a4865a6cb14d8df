"""One question to W&B each, asked with versions in a collection of its own; `uploads` alone sends a file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

from syncd.clients.artifacts import Version
from syncd.clients.wandb_scratch import COMMITTED
from syncd.entry import Entry
from syncd.errors import ClockError
from syncd.manifest import Manifest
from syncd.operations.clocks import check_clock
from syncd.refs import RunRef, Target
from syncd.rehearsal.findings import Finding, fails, holds, judge, unknown
from syncd.rehearsal.story import Stage, portfolio
from syncd.rehearsal.versions import KIND, draft, logged, pointing, refusal
from syncd.replacements import XXH128

FILE_SIZE = 100_000  # bytes
TTL = timedelta(days=30)
_GRAPHQL_OK = 200
Probe = Callable[[Stage], Finding]


def _latest(stage: Stage, name: str) -> Version | None:
    return stage.scratch.named(f"{stage.collection(name)}:latest")


# --- what nobody can know from the outside


def refusals(stage: Stage) -> Finding:
    """With which status refusals come."""
    version = logged(stage, "refused", "a")
    status = stage.scratch.refusal(version, stage.collection("is-not-there"))
    return judge(status == _GRAPHQL_OK, f"HTTP {status}")


def newest_first(stage: Stage) -> Finding:
    """What a listing begins with."""
    *_, last = [logged(stage, "order", content) for content in "abc"]
    found = stage.scratch.numbers(last.ref.collection, KIND)
    return judge(found == [2, 1, 0], ", ".join(f"v{number}" for number in found))


def numbers(stage: Stage) -> Finding:
    """Which number follows a deleted one."""
    logged(stage, "numbers", "a")
    deleted = logged(stage, "numbers", "b")
    stage.scratch.remove(deleted)
    after = logged(stage, "numbers", "c")
    return judge(
        after.index > deleted.index, f"after {deleted.ref.alias} was deleted: {after.ref.alias}"
    )


def repeats(stage: Stage) -> Finding:
    """Which version comes back for known content."""
    first = logged(stage, "repeats", "a")
    logged(stage, "repeats", "b")
    again, state = stage.scratch.begin(draft(stage, "repeats", pointing("a")))
    same = again == first.id and state == COMMITTED
    return judge(same, f"v0, v1, then v0's content again: {'v0' if same else f'a new {state} one'}")


def words(stage: Stage) -> Finding:
    """Whether known content with other words changes the words."""
    first = logged(stage, "words", "a", description="before", metadata={"words": "before"})
    again = logged(stage, "words", "a", description="after", metadata={"words": "after"})
    if again.id != first.id:
        return unknown(f"the repeat became {again.ref.alias}")
    same = again.description == "before" and again.metadata == {"words": "before"}
    return judge(same, f"description {again.description!r}, metadata {dict(again.metadata)}")


def twins(stage: Stage) -> Finding:
    """What becomes of two versions with one content."""
    manifest = pointing("twin")
    asked = draft(stage, "twins", manifest)
    begun = [stage.scratch.begin(asked)[0] for _ in range(2)]
    if begun[0] == begun[1]:
        return fails("the second draft was the first one again")
    stage.scratch.finish(asked, begun[0], manifest)
    said = refusal(lambda: stage.scratch.finish(asked, begun[1], manifest))
    if said:
        return fails(said)
    return holds(" and ".join(stage.scratch.version(found).ref.alias for found in begun))


def latest_off(stage: Stage) -> Finding:
    """What becomes of `latest` when it is taken off."""
    logged(stage, "off", "a")
    version = logged(stage, "off", "b", "latest")
    said = refusal(lambda: stage.scratch.take_off(version, "latest"))
    if said:
        return fails(said)
    found = _latest(stage, "off")
    return judge(found is None, f"then latest is {found.ref.alias if found else 'nobody'}")


def bare_name(stage: Stage) -> Finding:
    """What a bare name finds."""
    logged(stage, "bare", "a", "latest")
    last = logged(stage, "bare", "b", "latest")
    found = stage.scratch.named(last.ref.collection)
    return judge(
        found is not None and found.id == last.id, found.ref.alias if found else "nothing is found"
    )


def heir(stage: Stage) -> Finding:
    """Who is `latest` after the version that was is deleted."""
    logged(stage, "heir", "a")
    stage.scratch.remove_with_aliases(logged(stage, "heir", "b", "latest"))
    found = _latest(stage, "heir")
    return judge(found is None, f"then latest is {found.ref.alias if found else 'nobody'}")


def mixed(stage: Stage) -> Finding:
    """Whether a collection takes another kind of digests."""
    first = logged(stage, "mixed", "a", digest_algorithm=XXH128)
    if first.digest_algorithm != XXH128:
        return unknown(f"W&B made it {first.digest_algorithm}")
    said = refusal(lambda: logged(stage, "mixed", "b"))
    return judge(bool(said), said or "it is taken")


def reference_inputs(stage: Stage) -> Finding:
    """Whether a reference to a version makes it an input."""
    target = logged(stage, "pointed-at", "a")
    run = stage.scratch.make_run(stage.collection("points"))
    name = base64.b64decode(target.id).hex()
    logged(stage, "points", "b", ref=f"wandb-artifact://{name}/a", run=run)
    used = [version.ref for version in stage.scratch.run(run).inputs]
    return judge(not used, f"{len(used)} inputs")


def relink(stage: Stage) -> Finding:
    """What a second link of the same version does."""
    version = logged(stage, "linked", "a")
    found: list[int] = []

    def link() -> None:
        found.append(stage.scratch.link_once(version, stage.collection("relinked")))

    link()
    said = refusal(link)
    return judge(len(set(found)) == 1 and not said, said or ", then ".join(f"v{n}" for n in found))


def patches(stage: Stage) -> Finding:
    """Which files a distributed version has."""
    base = logged(stage, "patched", "base")
    manifest = pointing("patch")
    asked = draft(stage, "patched", manifest)
    artifact_id, _ = stage.scratch.begin(asked, distributed_id=stage.collection("patches"))
    stage.scratch.finish_patch(asked, artifact_id, manifest, base.id)
    paths = list(stage.scratch.manifest(stage.scratch.version(artifact_id)).entries)
    return judge(paths == ["patch"], f"its files: {', '.join(paths)}")


def own_aliases(stage: Stage) -> Finding:
    """Whether this key may move an alias that people protect."""
    first, second = (logged(stage, "aliases", content) for content in "ab")

    def move() -> None:
        for version in (first, second):
            stage.scratch.move_aliases(version, ["production"])

    said = refusal(move)
    return judge(not said, said or "given and moved")


def _untold(why: str) -> Probe:
    def probe(_stage: Stage) -> Finding:
        return unknown(why)

    return probe


# --- what syncd builds on


def deletion(stage: Stage) -> Finding:
    """Whether a version with an alias can be deleted as syncd deletes."""
    version = logged(stage, "spared", "a", "keep")
    said = refusal(lambda: stage.scratch.remove(version))
    there = refusal(lambda: stage.scratch.version(version.id)) == ""
    return judge(bool(said) and there, said or "it was deleted with its alias")


def gone(stage: Stage) -> Finding:
    """Where a deleted version is still found."""
    version = logged(stage, "gone", "a")
    logged(stage, "gone", "b")
    stage.scratch.remove(version)
    by_id = refusal(lambda: stage.scratch.version(version.id)) == ""
    listed = version.index in stage.scratch.numbers(version.ref.collection, KIND)
    places = [name for name, found in (("by its id", by_id), ("in a listing", listed)) if found]
    return judge(not places, f"found {' and '.join(places) or 'nowhere'}")


def drafts(stage: Stage) -> Finding:
    """Whether a draft is listed."""
    version = logged(stage, "drafts", "a")
    begun, _ = stage.scratch.begin(draft(stage, "drafts", pointing("b")))
    listed = [found.id for found in stage.scratch.versions(Target.of(version.ref))]
    return judge(begun not in listed, f"{len(listed)} versions listed, one committed")


def order(stage: Stage) -> Finding:
    """Whether pages of one come in the order that was asked for."""
    *_, last = [logged(stage, "pages", content) for content in "abcd"]
    found = stage.scratch.numbers(last.ref.collection, KIND, order="+version_index", page=1)
    return judge(found == [0, 1, 2, 3], ", ".join(f"v{number}" for number in found))


def whereabouts(stage: Stage) -> Finding:
    """Whether several aliases of a collection are told with their versions."""
    first = logged(stage, "told", "a", "here", "too")
    second = logged(stage, "told", "b", "there")
    [found] = stage.scratch.collections(Target.of(first.ref).whole)
    asked = changed(found, newest=(), elsewhere=("here", "there", "too"))
    places = stage.scratch.pointed([asked])
    right = {"here": first.id, "there": second.id, "too": first.id}
    if places is None:
        return fails("W&B refused the question")
    return judge(places == [right], f"{len(places[0])} of 3 aliases have a version")


def one_place(stage: Stage) -> Finding:
    """Whether an alias that moves leaves its old place."""
    first = logged(stage, "moving", "a", "here")
    second = logged(stage, "moving", "b", "here")
    held = [stage.scratch.version(version.id).aliases for version in (first, second)]
    return judge(held == [(), ("here",)], f"v0 has {list(held[0])}, v1 has {list(held[1])}")


def give_back(stage: Stage) -> Finding:
    """Whether `latest` of a portfolio can stay where it was when another version is linked."""
    first, second = (logged(stage, "given-back", content) for content in "ab")
    place = portfolio(stage, "giving-back")
    stage.scratch.link(first, place, ("latest",))
    stage.scratch.link(second, portfolio(stage, "giving-back", latest=first.id), ("older",))
    found = stage.scratch.named(f"{place.collection}:latest")
    return judge(
        found is not None and found.id == first.id,
        f"latest is {'where it was' if found and found.id == first.id else 'elsewhere'}",
    )


def metadata(stage: Stage) -> Finding:
    """What changes with the metadata."""
    said: dict[str, Any] = {"description": "said", "tags": ("tagged",), "metadata": {"n": 1}}
    version = logged(stage, "metadata", "a", "named", **said)
    stage.scratch.update_metadata(version, {"n": 2})
    now = stage.scratch.version(version.id)
    same = now == changed(version, metadata={"n": 2})
    seen = f"{dict(now.metadata)}, {now.description!r}, tags {list(now.tags)}, {list(now.aliases)}"
    return judge(same and now.tags == ("tagged",), seen)


def ttl(stage: Stage) -> Finding:
    """Whether a time to live is told as it was set."""
    version = logged(stage, "ttl", "a")
    seconds = int(TTL.total_seconds())
    stage.scratch.set_ttl(version, seconds)
    now = stage.scratch.version(version.id).ttl_seconds
    return judge(now == seconds, f"set {seconds} s, told {now} s")


def use(stage: Stage) -> Finding:
    """Whether one use recorded twice is one."""
    version = logged(stage, "used", "a")
    run: RunRef = stage.scratch.make_run(stage.collection("uses"))
    for _ in range(2):
        stage.scratch.record_use(run, version)
    found = stage.scratch.consumers(version)
    return judge(list(found) == [run], f"{len(found)} consumers")


def the_time(stage: Stage) -> Finding:
    """Whether W&B's answers say the time, and the same as this machine."""
    try:
        check_clock(stage.parts.source, stage.project.entity)
    except ClockError as error:
        return fails(str(error))
    return holds("both clocks agree")


def uploads(stage: Stage) -> Finding:
    """Whether an uploaded file comes back whole and in parts."""
    data = hashlib.shake_128(stage.mark.encode()).digest(FILE_SIZE)
    digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    entry = Entry(path="file.bin", digest=digest, size=len(data))
    manifest = Manifest(entries={"file.bin": entry}, storage_policy_config={"storageLayout": "V2"})

    def read(_entry: Entry) -> Iterator[bytes]:
        yield data

    made = stage.scratch.upload(draft(stage, "uploads", manifest), manifest, read)
    held = stage.scratch.manifest(made).entries["file.bin"]
    stage.scratch.sign(made, ["file.bin"])
    whole = b"".join(stage.scratch.read(made, held))
    if whole != data:
        return fails(f"{len(data)} bytes went, {len(whole)} other ones came back")
    part = b"".join(stage.scratch.read(made, held, begin=1000, size=100))
    return judge(part == data[1000:1100], f"{len(whole)} bytes equal, a range of {len(part)}")


def registry(stage: Stage) -> Finding:
    """Whether there is a registry to try it with."""
    found = stage.scratch.organizations()
    if not found:
        return unknown(f"{stage.project.entity} belongs to no organization")
    return unknown(f"the registries of {', '.join(found)} are not for rehearsals")


PROBES: Mapping[str, Probe] = {
    "refusals-come-with-200": refusals,
    "newest-come-first": newest_first,
    "numbers-are-not-reused": numbers,
    "repeats-find-any-version": repeats,
    "repeats-change-no-words": words,
    "twins-both-commit": twins,
    "latest-can-be-taken-off": latest_off,
    "bare-names-are-latest": bare_name,
    "nobody-inherits-latest": heir,
    "digests-do-not-mix": mixed,
    "references-are-no-inputs": reference_inputs,
    "linking-again-is-nothing": relink,
    "patches-stand-alone": patches,
    "aliases-may-be-moved": own_aliases,
    "automation-names-are-per-scope": _untold("automations are not made for a rehearsal"),
    "webhook-signatures-are-hex": _untold("a webhook of W&B wants a secret of the team's"),
    "webhooks-are-never-skipped": _untold("a webhook of W&B wants a secret of the team's"),
    "deletion-spares-aliases": deletion,
    "deleted-is-gone": gone,
    "drafts-are-not-listed": drafts,
    "order-and-pages-hold": order,
    "aliases-tell-where-they-are": whereabouts,
    "alias-has-one-place": one_place,
    "link-and-give-back": give_back,
    "metadata-alone-changes": metadata,
    "ttl-is-kept": ttl,
    "answers-say-the-time": the_time,
    "use-is-idempotent": use,
    "uploads-come-back": uploads,
    "registry-links-move": registry,
}
