"""Whatever people do, and wherever syncd fails or is killed: nothing is lost, moved twice or seen to move."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from generated_project import (
    REGISTRY,
    GeneratedProject,
    Mishap,
    pointer_to,
    user,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncd.catalog.catalog import State
from syncd.clients.artifacts import Version
from syncd.entry import Entry
from syncd.errors import SuspiciousListingError
from syncd.replacements import replacement_of

SEQUENCES = int(os.environ.get("SYNCD_TEST_SEQUENCES", "20"))  # `make nightly` takes 500
MOST = 7  # versions that people log in a sequence
SHELF = "team/proj/shelf"
YEARS = 3650 * 24 * 3600  # a time to live, seconds, that does not end while this test lives

picks = st.integers(0, 11)
mishaps = st.one_of(
    st.none(),
    st.builds(Mishap, after=st.integers(0, 45), kills=st.sampled_from([True, True, False])),
)


class Sequence(RuleBasedStateMachine):
    """People and syncd take turns; nothing is promised about the order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.project = GeneratedProject(self.folder)
        self.count = 0

    def teardown(self) -> None:
        """Without mishaps everything moves, once, and everything comes back."""
        try:
            if self.project.logged:
                self._finish()
        finally:
            self.project.close()
            shutil.rmtree(self.folder)

    # --- people

    @initialize(versions=st.integers(1, 3))
    def begin(self, *, versions: int) -> None:
        """Nobody looks at an empty project."""
        for _ in range(versions):
            self.count += 1
            self.project.log("ds", {"own": f"payload {self.count}".encode(), "big": b"shared big"})

    @precondition(lambda self: self.count < MOST)
    @rule(
        collection=st.sampled_from(["ds", "ds", "model"]),
        shared=st.lists(st.sampled_from(["big", "more", "small", "x.table.json"]), unique=True),
        points_into=st.none() | picks,
        elsewhere=st.booleans(),
        aliases=st.sampled_from([("latest",), ("latest", "best"), ("latest", "fine", "best")]),
        tags=st.sampled_from([(), ("clean",), ("clean", "old")]),
        ttl=st.sampled_from([-1, -1, YEARS]),
        made_by=st.sampled_from(["", "maker", "live"]),
    )
    def log(
        self,
        *,
        collection: str,
        shared: list[str],
        points_into: int | None,
        elsewhere: bool,
        aliases: tuple[str, ...],
        tags: tuple[str, ...],
        ttl: int,
        made_by: str,
    ) -> None:
        """A version with a file of its own, and some that others have, too."""
        self.count += 1
        state = "running" if made_by == "live" else "finished"
        references = []
        living = self.project.living()
        if points_into is not None and living:
            target = pointer_to(living[points_into % len(living)])
            references.append(Entry(path="pointer", digest="p", ref=target))
        if elsewhere:
            references.append(Entry(path="away", digest="a", ref="s3://bucket/away", size=9))
        self.project.log(
            collection,
            {"own": f"payload {self.count}".encode()}
            | {path: b"abc" if path == "small" else f"shared {path}".encode() for path in shared},
            references=references,
            aliases=aliases,
            tags=tags,
            description=f"number {self.count}" if tags else None,
            metadata={"number": self.count},
            ttl_seconds=ttl,
            run=self.project.source.add_run(made_by, state=state) if made_by else None,
        )

    @precondition(lambda self: 0 < self.count < MOST)
    @rule(pick=picks)
    def draft(self, *, pick: int) -> None:
        """A version that begins with the files of another, perhaps of a replacement."""
        self.count += 1
        base = self._pick(pick)
        self.project.log(
            base.ref.collection, {f"add {self.count}": b"payload of a draft"}, draft_of=base
        )

    @precondition(lambda self: self.project.living())
    @rule(pick=picks, alias=st.sampled_from(["best", "fine", "prod"]))
    def give(self, *, pick: int, alias: str) -> None:
        """Somebody gives an alias to what they see."""
        found = self.project.current(self._pick(pick))
        place = found.ref.entity, found.ref.project, found.ref.collection
        self.project.source.places.give(found.id, place, [alias])
        self.project.people_did()

    @precondition(lambda self: self.project.living())
    @rule(
        pick=picks,
        path=st.sampled_from([SHELF, REGISTRY]),
        aliases=st.sampled_from([(), ("gold",), ("prod", "gold")]),
        seen=st.booleans(),
    )
    def link(self, *, pick: int, path: str, aliases: tuple[str, ...], seen: bool) -> None:
        """Somebody links what they see, or a version by its number."""
        found = self._pick(pick)
        found = self.project.current(found) if seen else found
        self.project.source.link_to(found, path, aliases)
        self.project.people_did()

    @precondition(lambda self: self.project.living())
    @rule(pick=picks, late=st.booleans(), name=st.sampled_from(["user", "other"]))
    def use(self, *, pick: int, late: bool, name: str) -> None:
        """A run uses what it sees, or, later, a version by its number."""
        found = self._pick(pick)
        if late:
            run = user(self.project, f"late {name}", late=True)
        else:
            found, run = self.project.current(found), user(self.project, name, late=False)
        self.project.source.record_use(run, found)
        self.project.people_did()

    @precondition(lambda self: self.project.living())
    @rule(pick=picks)
    def delete(self, *, pick: int) -> None:
        """Somebody deletes a version to which nothing points."""
        found = self._pick(pick)
        if not any(place.aliases for place in self.project.source.places.memberships(found.id)):
            self.project.delete(found)

    # --- syncd

    @precondition(lambda self: self.project.living())
    @rule(mishap=mishaps, lost=st.booleans())
    def backfill(self, *, mishap: Mishap | None, lost: bool) -> None:
        """The project is moved, perhaps after the state directory was deleted."""
        if lost:
            self.project.lose_state()
        self.project.backfill(mishap)

    @precondition(lambda self: self.project.living())
    @rule(mishap=mishaps, pick=picks)
    def backfill_one(self, *, mishap: Mishap | None, pick: int) -> None:
        """A version is moved by its name, also when it was restored."""
        self.project.backfill(mishap, self._pick(pick))

    @precondition(lambda self: self.project.living())
    @rule(mishap=mishaps, days=st.sampled_from([1, 20, 20]))
    def reclaim(self, *, mishap: Mishap | None, days: int) -> None:
        """A sweep; after many deletions it may not believe what is listed."""
        with suppress(SuspiciousListingError):
            self.project.reclaim(mishap, days=days)

    @precondition(lambda self: self.project.living())
    @rule(mishap=mishaps, pick=st.none() | picks)
    def restore(self, *, mishap: Mishap | None, pick: int | None) -> None:
        """A version is restored, or all."""
        self.project.restore(mishap, None if pick is None else self._pick(pick))

    @precondition(lambda self: self.project.living())
    @rule(mishap=mishaps, days=st.sampled_from([1, 20]), lost=st.booleans())
    def backfill_and_reclaim(self, *, mishap: Mishap | None, days: int, lost: bool) -> None:
        """All is moved, perhaps the state directory is deleted, and a sweep follows."""
        self.project.backfill(mishap)
        if lost:
            self.project.lose_state()
        with suppress(SuspiciousListingError):
            self.project.reclaim(days=days)

    @precondition(lambda self: self.project.living())
    @rule(mishap=mishaps)
    def rebuild(self, *, mishap: Mishap | None) -> None:
        """The catalog is made anew."""
        self.project.rebuild(mishap)

    # --- promises

    @invariant()
    def holds(self) -> None:
        """What must hold between two steps."""
        self.project.check()

    def _finish(self) -> None:
        project = self.project
        if not project.living():
            return
        ended = project.backfill()
        project.check()
        failed = [item for item in ended if item["state"] == State.QUARANTINED]
        assert failed == []
        before = project.state()
        ended = project.backfill()
        assert [item for item in ended if item["state"] != State.SKIPPED] == []
        assert project.state() == before
        for version in project.living():
            self._has_moved(version)
        document = project.restore()
        project.check()
        assert document["failures"] == []
        ordinary = {
            project.key(version)
            for version in project.living()
            if replacement_of(version.metadata, version.digest) is None
        }
        assert ordinary == {project.key(version) for version in project.living()}

    def _has_moved(self, version: Version) -> None:
        """Nothing large is left in what may move."""
        if replacement_of(version.metadata, version.digest) is not None:
            return
        alike = [
            v for v in self.project.living() if self.project.key(v) == self.project.key(version)
        ]
        links = [replacement_of(item.metadata, item.digest) for item in alike]
        made = [link for link in links if link is not None]
        large = [
            entry.path
            for entry in self.project.source.manifest(version).entries.values()
            if entry.ref is None and (entry.size or 0) >= 4 and not entry.path.endswith(".json")
        ]
        assert made or not large, f"{version.ref} was not moved"
        assert all(link.complete or link.restored for link in made), version.ref

    def _pick(self, pick: int) -> Version:
        living = self.project.living()
        return living[pick % len(living)]


@pytest.mark.timeout(120 if SEQUENCES <= 20 else 20 * SEQUENCES)
def test_nothing_is_lost_doubled_or_seen_to_move_whatever_happens() -> None:
    """Generated sequences of what people and syncd do, with failures and kills anywhere."""
    run_state_machine_as_test(
        Sequence,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=25,
            deadline=None,
            derandomize=SEQUENCES <= 20,  # a commit is not held up by luck
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
