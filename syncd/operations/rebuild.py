"""Rebuild: the catalog again, from W&B and Oxen alone.

A replacement's metadata names its commit, the version it replaces and what moved; the commit's
lineage file names every content by both sides' digests, and the version itself where W&B has it no
more; the plan says why nothing moves of a version, and the runs' configs which of them still lack
their keys. The journal tells what was promoted. What nobody keeps is left empty: attempts, failures, bytes that travelled, and what was
read back. Rows are written by key, so machines that rebuild agree, in whatever order they are told
of collections, and one that was killed begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.catalog.catalog import State
from syncd.clients.artifacts import Collection, Version
from syncd.errors import NotFoundError, PermanentError
from syncd.naming import version_branch
from syncd.promotion.journal import journals, read
from syncd.promotion.production import remember
from syncd.refs import ArtifactRef, CommitRef, RepoRef, RunRef, Target, parse_reference_url
from syncd.replacements import Replacement, published_of, replacement_of
from syncd.runtime import Runtime
from syncd.stages.annotate import is_due
from syncd.stages.discover import Discovered, judged
from syncd.stages.plan import destination, fingerprint, plan
from syncd.versions.lineages import MALFORMED, Lineage, contents
from syncd.versions.plans import LINEAGE_PATH, lineage_in
from syncd.versions.relatives import relatives


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild found.

    Args:
        versions: rows by state.
        contents: files whose contents were learned again; equal ones count each time.
        runs_due: runs whose config still lacks their keys.
        problems: what of a version could not be read in Oxen; it costs work, not data.
    """

    versions: dict[str, int] = field(default_factory=dict)
    contents: int = 0
    runs_due: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)


def rebuild(runtime: Runtime, targets: Sequence[Target], *, everything: bool) -> Rebuilt:
    """Make the catalog's rows of the targets anew.

    Args:
        runtime: open clients; the caller holds the state directory's lock.
        targets: what to rebuild.
        everything: whether the targets are all there is, so that the rest is forgotten, too.
    """
    work = _Rebuild(runtime)
    for target in [None] if everything else targets:
        runtime.catalog.clear(target.whole if target else None)
    done: set[str] = set()
    configured = {str(project) for project in runtime.config.wandb.projects}
    for target in targets:
        try:
            for collection in runtime.source.collections(target.whole):
                if collection.id not in done:
                    done.add(collection.id)
                    work.collection(collection)
        except NotFoundError:
            if not everything or str(target) in configured:
                raise  # else the catalog alone knew it, and it is gone
    work.runs()
    work.journal([target.entity for target in targets])
    return work.found


class _Rebuild:
    """One rebuild on its way."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._catalog, self._source, self._store = runtime.catalog, runtime.source, runtime.store
        self._fingerprint = fingerprint(runtime.config)
        self._runs: set[RunRef] = set()  # around versions that are replaced
        self._branches: dict[RepoRef, Mapping[str, str]] = {}
        self.found = Rebuilt()

    def collection(self, collection: Collection) -> None:
        """The rows of one collection."""
        versions = list(self._source.versions_of(collection))
        there = {version.id: version for version in versions}
        for version in versions:
            link = replacement_of(version.metadata, version.digest)
            if link is not None and link.complete:
                self._replaced(there.get(link.source_artifact_id), version, link)
            elif published_of(version.metadata, version.digest) is not None:
                self._catalog.descent.keep_versions(relatives([version]))
                self._runs |= {version.run} if version.run else set()
        for item in judged(versions, self._runtime.config.select):
            if not item.skip:
                self._waiting(item)

    def _replaced(self, source: Version | None, made: Version, link: Replacement) -> None:
        kept, artifact = self._read(link, made)
        version = source or _described(artifact, made, link)
        self._note(
            version,
            State.REPLACED,
            namespace=link.commit.repo.namespace,
            repo=link.commit.repo.repo,
            commit_id=link.commit.commit,
            replacement_id=made.id,
            replacement=str(made.ref),
            moved_files=link.moved_files,
            moved_bytes=link.moved_bytes,
            kept_bytes=kept,
        )
        self._catalog.descent.keep_versions(relatives([version, made]))
        self._runs |= {*self._source.consumers(made), *([made.run] if made.run else [])}

    def _waiting(self, item: Discovered) -> None:
        """A version that the next backfill goes on with, unless nothing of it moves."""
        version = item.version
        repo, prefix = destination(version, self._runtime.config)
        try:
            manifest = self._source.manifest(version)
            skip = plan(version, manifest, self._runtime.config).skip
        except PermanentError:
            skip = ""  # the next backfill says so, and puts the version into quarantine
        place = {"namespace": repo.namespace, "repo": repo.repo}
        if skip:
            self._note(version, State.SKIPPED, **place, reason=skip)
            self._catalog.looks.settle(version.id, skip, self._fingerprint)
            self._catalog.descent.keep_versions(relatives([version]))
            return
        commit = self._committed(version, repo, version_branch(version.index, prefix))
        self._note(version, State.WAITING, **place, commit_id=commit.commit if commit else "")
        if commit is not None:
            path = lineage_in(prefix)
            self._learn(commit, path, version.id, str(version.ref))

    def _committed(self, version: Version, repo: RepoRef, branch: str) -> CommitRef | None:
        """The commit of a version that is not replaced yet."""
        if repo not in self._branches:
            self._branches[repo] = self._store.branches(repo)
        found = self._store.resolve(repo, branch) if branch in self._branches[repo] else None
        if found is None or found.trailers.get("Wandb-Artifact-Id") != version.id:
            return None
        return found.ref

    def _read(self, link: Replacement, made: Version) -> tuple[int, Mapping[str, Any]]:
        """Learn a commit's contents; the bytes that stayed in W&B, and the version's description."""
        named = parse_reference_url(link.url)
        path = named[1] if named else LINEAGE_PATH
        kept, omitted, artifact = self._learn(
            link.commit, path, link.source_artifact_id, link.source_version
        )
        if (
            omitted
        ):  # the lineage file does not tell their sizes, and the replacement has them still
            entries = self._source.manifest(made).entries
            kept += sum(entries[path].size or 0 for path in omitted if path in entries)
        return kept, artifact

    def _learn(
        self, commit: CommitRef, path: str, artifact_id: str, name: str
    ) -> tuple[int, set[str], Mapping[str, Any]]:
        kept, omitted = 0, set[str]()
        try:
            lineage = Lineage(self._store.read(commit, path))
            for kind, members in lineage.files():
                if kind == "omitted":
                    omitted |= members.keys()
                elif kind == "files":
                    learned = contents(members)
                    kept += sum(int(item["size"]) for item in members.values() if not item["moved"])
                    self._catalog.learn(learned)
                    self.found.contents += len(members)
            artifact = lineage.artifact(artifact_id)
        except (PermanentError, *MALFORMED) as error:
            problem = f"{commit} {path}: the lineage file cannot be used: {error}"
            self.found.problems.append({"version": name, "problem": problem})
            return 0, set(), {}
        return kept, omitted, artifact

    def runs(self) -> None:
        """The runs whose config still lacks what syncd writes, or that run and cannot have it."""
        for ref in sorted(self._runs, key=str):
            try:
                run = self._source.run(ref)
            except NotFoundError:
                continue  # deleted since
            self._catalog.descent.keep(run)
            if is_due(run):
                self._catalog.add_run_due(ref)
                self.found.runs_due += 1

    def journal(self, entities: Sequence[str]) -> None:
        """What was promoted and deployed, and what those commits are made of."""
        repos = journals(self._runtime.config, entities)
        for problem in remember(self._store, self._catalog.mirror, read(self._store, repos)):
            self.found.problems.append({"version": "the journal", "problem": problem})

    def _note(self, version: Version, state: State, **values: Any) -> None:
        self._catalog.note(version, state, **values)
        counts = self.found.versions
        counts[state.value] = counts.get(state.value, 0) + 1


def _described(artifact: Mapping[str, Any], made: Version, link: Replacement) -> Version:
    """A version that W&B has no more, as its replacement and its lineage file describe it."""
    return Version(
        id=link.source_artifact_id,
        ref=ArtifactRef.parse(link.source_version),
        type=str(artifact.get("type", made.type)),
        digest=link.source_digest,
        size=made.size,  # a reference has the size of what it refers to
        file_count=made.file_count,
        created_at=link.source_created_at,
    )
