"""What the story says of the promises, and of the place that references point at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from syncd.clients.payload import Payload
from syncd.entry import Entry
from syncd.errors import PermanentError
from syncd.naming import alias_branch, version_branch
from syncd.refs import CommitRef
from syncd.rehearsal.findings import Finding, fails, holds, judge
from syncd.rehearsal.story import LARGE, LOG, MOVE, RECLAIM, RESTORE, SMALL, Sight, Stage, Story
from syncd.replacements import CONTENT_KEY, KEY, replacement_of

MAX_SHOWN = 3
PIECE = slice(1000, 1100)  # of a file, as a range
_PARTIAL_CONTENT = 206
Check = Callable[[Stage, Story], Finding]


# --- promises


def migration(_stage: Stage, story: Story) -> Finding:
    """Whether it ran through."""
    if story.broken:
        return fails(story.broken)
    return holds(
        f"{len(story.replaced)} versions moved, {len(story.removed)} deleted "
        f"({len(story.stays)} linked: it stays), {len(story.restored)} restored"
    )


def _bytes(step: str) -> Check:
    def check(_stage: Stage, story: Story) -> Finding:
        sight = story.sight(step)
        wrong = [
            f"{name}: {_difference(sight.files.get(name, {}), story.logged[source])}"
            for name, source in sight.wanted.items()
            if sight.files.get(name) != story.logged[source]
        ]
        files = sum(len(found) for found in sight.files.values())
        return judge(not wrong, _some(wrong) or f"{files} files by {len(sight.wanted)} names equal")

    return check


def _difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    if "error" in found and "error" not in wanted:
        return found["error"]
    names = sorted(path for path in {*found, *wanted} if found.get(path) != wanted.get(path))
    return f"{', '.join(names[:MAX_SHOWN])} differ"


def kept_files(_stage: Stage, story: Story) -> Finding:
    """Whether small files are still served without the version they came with."""
    sight = story.sight(RECLAIM)
    names = [story.replaced[source] for source in story.removed]
    wrong = [
        name
        for name in names
        if sight.files.get(name, {}).get(SMALL) != story.logged[sight.wanted[name]][SMALL]
    ]
    return judge(
        bool(names) and not wrong, _some(wrong) or f"{SMALL} of {len(names)} versions equal"
    )


def latest(_stage: Stage, story: Story) -> Finding:
    """Whether `latest` names the newest content after each step."""
    names = {name: source for name, source in story.aliases.items() if name.endswith(":latest")}
    wrong = [
        f"after {step}, {name} is not {source}"
        for step, sight in story.sights.items()
        if sight.files
        for name, source in names.items()
        if sight.files.get(name) != story.logged[source]
    ]
    story.sight(MOVE)
    steps = ", ".join(step for step in story.sights if step != LOG)
    return judge(not wrong, _some(wrong) or f"{len(names)} collections, after {steps}")


def aliases(_stage: Stage, story: Story) -> Finding:
    """Whether each alias is on the version that it belongs to after each step."""
    story.sight(MOVE)
    wrong: list[str] = []
    for step, sight in story.sights.items():
        for name, source in story.aliases.items():
            if name in story.links:
                continue  # where links stand, a plain client's bytes tell
            wanted = _place_of(step, story, source)
            held = sight.holder(name)
            if held != wanted:
                wrong.append(f"after {step}, {name} is {held or 'nobody'} instead of {wanted}")
    count = len(story.aliases) - len(story.links)
    return judge(not wrong, _some(wrong) or f"{count} aliases after {', '.join(story.sights)}")


def _place_of(step: str, story: Story, source: str) -> str:
    """The version that stands for a logged one after a step."""
    by_step = {MOVE: story.replaced, RECLAIM: story.replaced, RESTORE: story.restored}
    return by_step.get(step, {}).get(source, source)


def lineage(_stage: Stage, story: Story) -> Finding:
    """Whether replacements have the runs of their originals."""
    before, after = story.sight(LOG), story.sight(MOVE)
    wrong = [
        f"{new}: logged by {after.versions[new].run}, used by {sorted(after.consumers[new])}"
        for old, new in story.replaced.items()
        if after.versions[new].run != before.versions[old].run
        or not before.consumers[old] <= after.consumers[new]
    ]
    uses = sum(len(before.consumers[old]) for old in story.replaced)
    return judge(not wrong, _some(wrong) or f"{len(story.replaced)} outputs, {uses} uses")


def fields(_stage: Stage, story: Story) -> Finding:
    """Whether replacements say of themselves what their originals said."""
    before, after = story.sight(LOG), story.sight(MOVE)

    def said(sight: Sight, name: str) -> tuple[object, ...]:
        version = sight.versions[name]
        metadata = {key: value for key, value in version.metadata.items() if key != KEY}
        return version.description, sorted(version.tags), metadata, version.ttl_seconds

    wrong = [
        f"{new} says {said(after, new)}, {old} said {said(before, old)}"
        for old, new in story.replaced.items()
        if said(after, new) != said(before, old)
    ]
    unread = [
        f"{new} does not say that it is a replacement"
        for new in story.replaced.values()
        if replacement_of(after.versions[new].metadata, after.versions[new].digest) is None
    ]
    return judge(not wrong + unread, _some(wrong + unread) or f"{len(story.replaced)} versions")


def runs(_stage: Stage, story: Story) -> Finding:
    """Whether the runs are what they were, but for syncd's keys in their config."""
    before, after = story.sight(LOG), story.sight(MOVE)
    wrong: list[str] = []
    for name, run in before.runs.items():
        now = after.runs.get(name)
        if now is None or (run.state, run.name) != (now.state, now.name):
            wrong.append(f"{name} was {run.state} and is {now.state if now else 'gone'}")
        elif not run.config.items() <= now.config.items():
            wrong.append(f"the config of {name} changed")
    states = ", ".join(sorted({run.state for run in after.runs.values()}))
    return judge(not wrong, _some(wrong) or f"{len(before.runs)} runs, {states}")


def again(_stage: Stage, story: Story) -> Finding:
    """Whether a second backfill did nothing."""
    story.sight(MOVE)
    made, travelled = story.again["versions"]["replaced"], story.again["bytes"]["downloaded"]
    return judge(made == travelled == 0, f"{made} versions, {travelled} bytes")


# --- Oxen


def etags(stage: Stage, story: Story) -> Finding:
    """Whether a reference answers with its content's hash."""
    entry, _ = _reference(stage, story)
    with (
        closing(Payload()) as http,
        http.request(
            "HEAD", entry.ref or "", what="ask for an ETag", headers=stage.reading
        ) as answer,
    ):
        found = answer.headers.get("etag", "")
        wanted = entry.extra.get(CONTENT_KEY, entry.digest)
        return judge(found.strip('"') == wanted, f"{answer.status}, ETag {found or 'missing'}")


def ranges(stage: Stage, story: Story) -> Finding:
    """Whether a reference answers with a part of its file."""
    entry, sum_ = _reference(stage, story)
    span = f"bytes={PIECE.start}-{PIECE.stop - 1}"
    answers = [_get(entry.ref or "", {**stage.reading, **more}) for more in ({}, {"Range": span})]
    (_, whole), (status, part) = answers
    if hashlib.sha256(whole).hexdigest() != sum_:
        return fails(f"{len(whole)} bytes, and not those of {entry.path}")
    good = status == _PARTIAL_CONTENT and part == whole[PIECE]
    return judge(good, f"{status} and {len(part)} bytes for {span}")


def _get(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    with (
        closing(Payload()) as http,
        http.request("GET", url, what="read a reference", headers=headers) as answer,
    ):
        return answer.status, b"".join(answer.chunks(1 << 20))


def _reference(stage: Stage, story: Story) -> tuple[Entry, str]:
    """An entry that moved, and the sha256 of its file."""
    sight = story.sight(MOVE)
    source, name = next(iter(story.replaced.items()))
    entry = stage.scratch.manifest(sight.versions[name]).entries[LARGE]
    if entry.ref is None:
        raise PermanentError(f"{name} {LARGE} is no reference")
    return entry, story.logged[source][LARGE]


def old_commits(stage: Stage, story: Story) -> Finding:
    """Whether all commits are what they were when they were made."""
    story.sight(MOVE)
    found = _commits(story)
    wrong = [
        f"{name}: {problem}"
        for name, commit in found.items()
        for problem in stage.parts.store.verify(commit)
    ]
    return judge(not wrong, _some(wrong) or f"{len(found)} commits read again")


def branches(stage: Stage, story: Story) -> Finding:
    """Whether versions and aliases have branches."""
    story.sight(MOVE)
    commits = _commits(story)
    wrong: list[str] = []
    for source, commit in commits.items():
        heads = stage.parts.store.branches(commit.repo)
        number = int(source.rpartition(":v")[2])
        wanted = [version_branch(number)] + [
            alias_branch(name.partition(":")[2])
            for name, held in story.aliases.items()
            if held == source and name not in story.links
        ]
        wrong += [f"{commit.repo} {name}" for name in wanted if heads.get(name) != commit.commit]
    return judge(not wrong, _some(wrong) or f"{len(commits)} versions")


def _commits(story: Story) -> dict[str, CommitRef]:
    return {
        item["source"].rsplit("/", 1)[-1]: CommitRef.parse(item["oxen"])
        for item in story.moved["replacements"]
    }


def _some(problems: Iterable[str]) -> str:
    found = list(problems)
    more = f"; and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
    return "; ".join(found[:MAX_SHOWN]) + more


CHECKS: Mapping[str, Check] = {
    "migration-ends": migration,
    "bytes-after-move": _bytes(MOVE),
    "bytes-after-reclaim": _bytes(RECLAIM),
    "kept-files-outlive-their-version": kept_files,
    "bytes-after-restore": _bytes(RESTORE),
    "latest-stays-on-the-newest": latest,
    "aliases-follow": aliases,
    "lineage-follows": lineage,
    "fields-follow": fields,
    "finished-runs-stay-finished": runs,
    "again-is-nothing": again,
    "references-have-etags": etags,
    "references-have-ranges": ranges,
    "old-commits-stay": old_commits,
    "branches-follow-aliases": branches,
}
