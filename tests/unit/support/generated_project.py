"""A project on the doubles under people's and syncd's hands, and what must hold of it at each moment.

What W&B shows is put in words that do not tell a version from the one that replaces it: contents,
named by collection and digest of what a person logged. People change what is shown; syncd must not,
at no moment, whatever fails and wherever it is killed.
"""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from syncd.catalog.catalog import Catalog, State
from syncd.clients.artifacts import Version
from syncd.clients.wandb import WandbSource
from syncd.config import Config
from syncd.durable import lines, steps, workflow
from syncd.durable.context import Context, Outcome
from syncd.errors import NotFoundError, ServiceUnavailableError, SyncdError
from syncd.manifest import Manifest
from syncd.operations import backfill, rebuild, restoration, sweep
from syncd.refs import RepoRef, RunRef, Target, parse_reference_url
from syncd.replacements import KEY, replacement_of
from syncd.runtime import Runtime
from syncd.stages.annotate import annotate
from syncd.stages.discover import Discovered, discover
from syncd.stages.plan import destination, fingerprint
from syncd.testing import MemoryArtifactSource, MemoryVersionStore
from syncd.testing.faults import Calls

PROJECT = Target.parse("team/proj")
GRACE = 14  # days
CLOCKS = 3600  # seconds by which the double's clock may be before the real one
REGISTRY = "org/wandb-registry-models/best"
Key = tuple[str, str]  # collection, digest of what was logged
Shown = dict[str, Any]


class KilledError(BaseException):
    """The process is gone; nothing in it can catch this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """What befalls syncd, once.

    Args:
        after: how many calls and answers pass before.
        kills: the process ends there; otherwise the call fails.
    """

    after: int
    kills: bool


class Gate(Calls):
    """All calls of a process to both ends; counts moments, lets mishaps happen.

    Args:
        changed: told the method of each change when it has just happened.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        super().__init__(())
        self._changed = changed
        self._lock = threading.RLock()
        self._mishap: Mishap | None = None
        self._passed = 0
        self._dead = self._open = False

    @contextmanager
    def process(self, mishap: Mishap | None) -> Iterator[None]:
        """A process of syncd, which this may befall."""
        self._mishap, self._passed, self._dead, self._open = mishap, 0, False, True
        try:
            yield
        finally:
            self._open = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Calls in here are the test's own."""
        before, self._open = self._open, False
        try:
            yield
        finally:
            self._open = before

    def __call__(self, method: str) -> None:
        """See `Calls`."""
        with self._lock:
            self.count[method] += 1
            self._pass()

    def answer(self, method: str) -> None:
        """See `Calls`."""
        with self._lock:
            if self._open and not self._dead:
                with self.aside():
                    self._changed(method)
            self._pass()

    def _pass(self) -> None:
        if not self._open:
            return
        if self._dead:
            raise KilledError
        if self._mishap is None:
            return
        if self._passed < self._mishap.after:
            self._passed += 1
            return
        mishap, self._mishap = self._mishap, None
        if mishap.kills:
            self._dead = True
            raise KilledError
        raise ServiceUnavailableError("this call failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A version as a person logged it."""

    version: Version
    manifest: Manifest
    files: dict[str, bytes | str]  # a reference's URL


class GeneratedProject:
    """Both ends, and syncd on a state directory that may get lost.

    Args:
        folder: for state directories.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts = 0
        self._gate = Gate(self._moment)
        self.source, self.store = MemoryArtifactSource(), MemoryVersionStore()
        self.source._call = self.store._call = self._gate
        # One clock for both, but for the minutes between versions: syncd reads the real one.
        self.source.pass_time(int((datetime.now(UTC) - self.source.now).total_seconds()))
        self.logged: dict[Key, Logged] = {}
        self.problems: list[str] = []  # of moments; an exception would be taken for a failed call
        self._deleted: set[str] = set()  # ids, by people
        self._removed: set[str] = set()  # ids, by syncd
        self._grace_over = False
        self.catalog = self._new_catalog()
        self._shown = self.shown()

    def close(self) -> None:
        """Leave the state directory."""
        self.catalog.close()

    # --- what people do

    def log(self, collection: str, files: dict[str, bytes], **fields: Any) -> Version:
        """Log a version."""
        made = self.source.log(collection, files, **fields)
        self.logged[collection, made.digest] = Logged(
            version=made, manifest=self.source.manifest(made), files=self.files(made)
        )
        self.people_did()
        return made

    def delete(self, version: Version) -> None:
        """Delete a version to which nothing points."""
        self.source._logged[version.id].removed = True
        self.source.places.remove(version.id)
        self._deleted.add(version.id)
        self.people_did()

    def people_did(self) -> None:
        """What is shown now is what people want."""
        self._shown = self.shown()

    def living(self) -> list[Version]:
        """All versions of W&B, in the order of their creation."""
        return [self.source._now(item) for item in self.source._logged.values() if not item.removed]

    def current(self, version: Version) -> Version:
        """The version that people see for a content: what an alias would name."""
        alike = [item for item in self.living() if self.key(item) == self.key(version)]
        for item in alike:
            link = replacement_of(item.metadata, item.digest)
            if link is not None and link.complete and link.restored is None:
                return item
        ordinary = [v for v in alike if replacement_of(v.metadata, v.digest) is None]
        return (ordinary or alike)[0]

    # --- what syncd does

    def backfill(self, mishap: Mishap | None = None, named: Version | None = None) -> list[Outcome]:
        """Discover and move, as `syncd backfill` does; the outcomes of what did not fail to begin."""
        target = Target.of(named.ref) if named else PROJECT
        outcomes: list[Outcome] = []
        with self._process(mishap):
            self._backfill(changed(target, alias=named.ref.alias if named else None), outcomes)
        return outcomes

    def _backfill(self, target: Target, outcomes: list[Outcome]) -> None:
        runtime = self._runtime
        context = Context(
            source=self.source,
            store=self.store,
            catalog=self.catalog,
            config=runtime.config,
            etagged=runtime.etagged,
        )
        steps.use(context)
        decided = fingerprint(runtime.config)
        found = discover(
            self.source,
            [target],
            runtime.config.select,
            settled=lambda artifact_ids: self.catalog.looks.settled(artifact_ids, decided),
        )
        heads: dict[RepoRef, dict[str, str]] = {}
        try:
            items = list(found)
        except NotFoundError:
            assert target.alias is not None, "only a version that is named may be gone"
            items = []
        for item in items:
            if item.skip:
                backfill.follow_aliases(runtime, item, heads)
            else:
                self._enqueued(item, runtime)
                made = item.replacement.id if item.replacement else ""
                outcomes.append(workflow._move(context, item.version.id, made))
        for run in self.catalog.runs_due():
            if annotate(self.source, run):
                self.catalog.remove_run_due(run)

    def _enqueued(self, item: Discovered, runtime: Runtime) -> None:
        """What `backfill` notes when it puts a version in the queue."""
        record = self.catalog.get(item.version.id)
        repo, _ = destination(item.version, runtime.config)
        self.catalog.note(
            item.version,
            record.state if record and lines._under_way(record) else State.WAITING,
            namespace=repo.namespace,
            repo=repo.repo,
        )

    def reclaim(self, mishap: Mishap | None = None, *, days: int) -> dict[str, Any]:
        """Sweep the project so many days from now; the report."""
        now = datetime.now(UTC) + timedelta(days=days)
        self._grace_over = days >= GRACE
        reports: list[sweep.Report] = []
        with self._process(mishap):
            planned = sweep.plan(self._runtime, [PROJECT], now)
            reports.append(sweep.execute(planned, self._runtime, lambda: now))
        return reports[0].document() if reports else {}

    def restore(self, mishap: Mishap | None = None, named: Version | None = None) -> dict[str, Any]:
        """Restore a version or the project; the report."""
        target = Target.parse(str(named.ref)) if named else PROJECT
        reports: list[restoration.Report] = []
        with self._process(mishap):
            now = datetime.now(UTC)
            reports.append(restoration.restore_target(self._runtime, target, lambda: now))
        return reports[0].document() if reports else {}

    def rebuild(self, mishap: Mishap | None = None) -> None:
        """Make the catalog anew from both ends."""
        with self._process(mishap):
            rebuild.rebuild(self._runtime, [PROJECT], everything=True)

    def lose_state(self) -> None:
        """Delete the state directory."""
        self.catalog.close()
        self.catalog = self._new_catalog()

    def _new_catalog(self) -> Catalog:
        self._starts += 1
        return Catalog(f"sqlite:///{self._folder}/{self._starts}.db")

    @contextmanager
    def _process(self, mishap: Mishap | None) -> Iterator[None]:
        """One run of the program; it may be killed or end with an error, and tells no more then."""
        try:
            with self._gate.process(mishap):
                yield
        except (KilledError, SyncdError):
            if mishap is None:
                raise
        finally:
            steps.use(None)

    @property
    def _runtime(self) -> Runtime:
        return Runtime(
            config=Config.model_validate(
                {
                    "select": {"min_file_size": 4},
                    "transfer": {"concurrency": 1},
                    "wandb": {"projects": [str(PROJECT)]},
                    "references": {"base_url": "https://data.example"},
                    "reclaim": {"policy": "delete", "grace": f"{GRACE}d", "pinned": "30d"},
                }
            ),
            source=cast("WandbSource", self.source),
            store=self.store,
            catalog=self.catalog,
            etagged=lambda _url: True,
        )

    # --- what must hold

    def key(self, version: Version) -> Key:
        """Which content a version has, by its own word or by what it replaces."""
        link = replacement_of(version.metadata, version.digest)
        return version.ref.collection, link.source_digest if link else version.digest

    def shown(self) -> Shown:
        """Where each content is, what each alias names, who used what."""
        keys = {version.id: self.key(version) for version in self.living()}
        places = {
            "/".join(place): {
                "holds": {keys[item] for item in held.numbers if item in keys},
                "aliases": {alias: keys.get(item) for alias, item in held.aliases.items()},
            }
            for place, held in self.source.places._collections.items()
        }
        users = {(key, run) for item, key in keys.items() for run in self.source._users(item)}
        return {"places": places, "users": users}

    def _moment(self, method: str) -> None:
        """After each change of syncd's: nothing that is shown has changed, nothing is there twice."""
        now = self.shown()
        if now != self._shown:
            self.problems.append(f"{method}: {_first_difference(self._shown, now)}")
        self.problems += [f"{method}: {line}" for line in self._doubled()]
        known = self._deleted | self._removed
        for artifact_id, item in self.source._logged.items():
            if item.removed and artifact_id not in known:
                self._removed.add(artifact_id)
                self.problems += [
                    f"{method}: {line}" for line in self._wrongly_removed(item.version)
                ]

    def _doubled(self) -> list[str]:
        ordinary, replacing = Counter[Key](), Counter[Key]()
        for version in self.living():
            link = replacement_of(version.metadata, version.digest)
            (replacing if link else ordinary)[self.key(version)] += 1
        return [
            f"{count} {word} versions of {key}"
            for word, counts in (("ordinary", ordinary), ("replacing", replacing))
            for key, count in counts.items()
            if count > 1
        ]

    def _wrongly_removed(self, version: Version) -> list[str]:
        """Why a version that is gone should be there; aliases, links and users are seen elsewhere."""
        name = str(version.ref)
        found = [] if self._grace_over else [f"{name} was removed within its grace period"]
        for made in self.living():
            link = replacement_of(made.metadata, made.digest)
            if link is not None and link.source_artifact_id == version.id:
                if not link.complete or link.restored is not None:
                    found.append(f"{name} was removed, and {made.ref} is {link}")
                return found
        return [*found, f"{name} was removed, and nothing replaces it"]

    def check(self) -> None:
        """All that must hold between two runs.

        Raises:
            AssertionError: when it does not.
        """
        assert self.problems == []
        assert self.shown() == self._shown, _first_difference(self._shown, self.shown())
        assert self._doubled() == []
        for version in self.living():
            before = self.logged[self.key(version)]
            assert self.files(version) == before.files, f"{version.ref} has other bytes"
            link = replacement_of(version.metadata, version.digest)
            if version.id == before.version.id:
                assert self.source.manifest(version) is before.manifest
            elif link is not None and link.complete and link.restored is None:
                self._check_looks(version, before.version)
            self._check_pointers(version)
        for repository in self.store._repositories.values():
            made = Counter(
                commit.trailers["Wandb-Artifact-Id"] for commit, _ in repository.commits.values()
            )
            assert [item for item, count in made.items() if count > 1] == []

    def files(self, version: Version) -> dict[str, bytes | str]:
        """What a client reads of a version, its references to Oxen followed."""
        found: dict[str, bytes | str] = {}
        for path, entry in self.source.manifest(version).entries.items():
            if entry.ref is None:
                found[path] = b"".join(self.source.read(version, entry))
            elif (named := parse_reference_url(entry.ref)) is not None:
                found[path] = b"".join(self.store.read(*named))
            else:
                found[path] = entry.ref
        return found

    def _check_looks(self, made: Version, before: Version) -> None:
        assert set(made.tags) == set(before.tags), made.ref
        assert (made.description or "") == (before.description or ""), made.ref
        assert made.run == before.run, made.ref
        assert _own(made.metadata) == _own(before.metadata), made.ref
        held = {place.name for place in self.source.places.memberships(made.id)}
        if REGISTRY not in held and made.ttl_seconds != -2:
            ends = [
                item.expires_at.timestamp() if item.expires_at else 0 for item in (made, before)
            ]
            assert ends == pytest.approx(ends[::-1], abs=CLOCKS), f"{made.ref} of {before.ref}"

    def _check_pointers(self, version: Version) -> None:
        """What a version points at is there, unless people deleted it."""
        there = {pointer_to(item) for item in self.living()}
        gone = {pointer_to(self.source._logged[item].version) for item in self._deleted}
        for entry in self.source.manifest(version).entries.values():
            if entry.ref and entry.ref.startswith("wandb-artifact://"):
                assert entry.ref in there | gone, f"{version.ref} points at nothing: {entry.ref}"

    def state(self) -> list[Any]:
        """All that W&B has, to see whether anything was done."""
        versions = [(item, self.source.places.memberships(item.id)) for item in self.living()]
        return [versions, self.shown()]


def pointer_to(version: Version) -> str:
    """A reference to a file of a version, as the SDK writes it."""
    return f"wandb-artifact://{_hex(version.id)}/big"


def _hex(artifact_id: str) -> str:
    return base64.b64decode(artifact_id).hex()


def _own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != KEY}


def _first_difference(before: Shown, now: Shown) -> str:
    for name in sorted(before["places"].keys() | now["places"].keys()):
        left, right = before["places"].get(name), now["places"].get(name)
        if left != right:
            return f"{name} shows {right} instead of {left}"
    lost, new = before["users"] - now["users"], now["users"] - before["users"]
    return f"uses lost: {sorted(map(str, lost))}, new: {sorted(map(str, new))}"


def user(project: GeneratedProject, name: str, *, late: bool) -> RunRef:
    """A run that uses versions: one of long ago, or one at work when everything has been moved."""
    if not late:
        return project.source.add_run(name)
    now = datetime.now(UTC)
    return project.source.add_run(
        name,
        began_at=(now + timedelta(days=1)).isoformat(),
        active_at=(now + timedelta(days=10)).isoformat(),
    )
