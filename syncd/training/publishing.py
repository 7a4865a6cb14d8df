"""Publish: files of this disk become an Oxen commit and a version of W&B's that refers to it.

    hash -> commit -> read back -> log references -> branches -> the run's config

The bytes go to Oxen alone. Called again with the same content, each step finds what it did before:
the version by its digest, the commit by the run and the content that its message names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncd import retry
from syncd.clients.artifacts import Run, Version
from syncd.clients.oxen_paths import check_branch, check_repo
from syncd.clients.payload import Payload
from syncd.clients.protocols import ArtifactSource
from syncd.clients.references import References
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.naming import alias_branch, version_branch
from syncd.refs import ArtifactRef, CommitRef, OxenURL, RepoRef, Target
from syncd.replacements import (
    KEY,
    Published,
    commit_of,
    published_of,
    version_digest,
)
from syncd.stages.plan import branch as branch_of
from syncd.stages.plan import place
from syncd.training import ends
from syncd.training.commits import Work
from syncd.training.folder import named_by, named_by_pins, named_in
from syncd.training.gathering import Files, gathered
from syncd.training.local import LocalFile, hashed
from syncd.training.pins import Pins
from syncd.training.plain import plain
from syncd.training.references import FileReferences
from syncd.training.runs import add_output
from syncd.training.tracking import Draft, Tracker, WandbRun
from syncd.training.writer import Writer, writer
from syncd.versions.commit_texts import inputs as inputs_of
from syncd.versions.plans import LINEAGE_PATH

if TYPE_CHECKING:
    import wandb


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was published.

    Args:
        version: `entity/project/collection:vN`, which refers to the commit.
        commit: the Oxen commit that holds the files.
    """

    version: str
    commit: CommitRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be published, and as what.

    Args:
        files: where each file lies, by its path in the version.
        collection: the W&B collection, in the run's project.
        repo: the repository; the one that syncd moves the collection to when None.
        type: the artifact type.
        inputs: what the run was pinned to.
        aliases: beside `latest`.
        branch: the branch to commit to; the configured one when empty.
        message: the first line of the commit's message; empty for the usual one.
        description: as W&B shows it.
        metadata: as W&B shows it.
    """

    files: Mapping[str, Path]
    collection: str
    repo: RepoRef | None = None
    type: str = "model"
    inputs: Pins | None = None
    aliases: tuple[str, ...] = ()
    branch: str = ""
    message: str = ""
    description: str | None = None
    metadata: Mapping[str, Any] | None = None


@ends.telling
def publish(
    files: Files,
    *,
    run: wandb.Run,
    collection: str = "",
    repo: str = "",
    inputs: Pins | None = None,
    type: str = "model",  # noqa: A002 as wandb calls it
    aliases: Sequence[str] = (),
    branch: str | None = None,
    message: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Publication:
    """Commit files to Oxen, and log a version to W&B that refers to them; no byte goes there.

    Args:
        files: a folder, a file, several files, or files by their path in the version.
        run: who publishes.
        collection: the W&B collection, in the run's project; named after `repo` when empty.
        repo: `oxen://namespace/repo`; the one that syncd moves the collection to when empty.
        inputs: what the run was pinned to; it stands in the commit's lineage file.
        type: the artifact type.
        aliases: beside `latest`, which W&B gives to the newest version.
        branch: the branch to commit to; a new one begins at the configured one, which is meant by None.
        message: the first line of the commit's message.
        description: shown in W&B.
        metadata: the version's, in W&B.
        environ: the environment variables; the process's own when None.

    Raises:
        UsageError: when there is nothing to publish, or no name for it; when the run is offline; when
            something in the metadata is no value of JSON and cannot be made one.
        InvalidNameError: when Oxen cannot hold a file of that name.
        RepositoryConflictError: when the repository holds another collection or somebody's own commits.
        StoreLockedError: when another process keeps the folder's repository to itself.
        ServiceUnavailableError: when a service is away, or the folder of repositories is not the one that
            it was, as when its disk is not mounted: nothing was written then.
        VerificationError: when what is read back from Oxen is not what went in.
        PermanentError: when W&B refuses the version.
    """
    variables = os.environ if environ is None else environ
    config = ends.configuration(variables)
    tracker = WandbRun(run)
    named = _repo(repo) if repo else None
    order = Order(
        files=gathered(files),
        collection=collection or (named.repo if named else ""),
        repo=named,
        type=type,
        inputs=inputs,
        aliases=tuple(aliases),
        branch=branch or "",
        message=message or "",
        description=description,
        metadata=metadata,
    )
    if not tracker.server:
        raise UsageError(
            f"run {run.id} is not logged to a server, and what is published is a version there",
            hint="Begin the run with WANDB_MODE=online.",
        )
    with ExitStack() as stack:
        http = Payload()
        stack.callback(http.close)
        server = "" if config.oxen.directory else config.oxen.url
        return place_order(
            order,
            tracker,
            stack.enter_context(ends.wandb_source(config, variables, tracker.server)),
            stack.enter_context(writer(config, variables)),
            config,
            etagged=References(http, config.references.base_url, server).etagged,
        )


def place_order(
    order: Order,
    tracker: Tracker,
    source: ArtifactSource,
    write: Writer,
    config: Config,
    *,
    etagged: Callable[[str], bool],
) -> Publication:
    """Publish, see `publish`.

    Args:
        order: what, and as what.
        tracker: the run.
        source: W&B.
        write: Oxen.
        config: where things go.
        etagged: whether what is served under a URL comes with its hash as ETag.
    """
    order = replace(order, metadata=plain(order.metadata))  # before anything that takes time
    if not order.collection:
        raise UsageError("there is no name to publish under", hint="Give a collection or a repo.")
    run = tracker.ref
    ref = ArtifactRef(entity=run.entity, project=run.project, collection=order.collection, alias="")
    repo, prefix = (order.repo, "") if order.repo else place(ref, order.type, config)
    if order.branch:
        check_branch(order.branch)
    versions = _versions(source, ref, order.type)
    base_url = config.references.base_url
    write.check(
        repo,
        [
            *named_by_pins(order.inputs.commits if order.inputs else {}),
            *(n for n in named_by(versions, base_url) if n.here or n.commit.repo == repo),
        ],
        named_in(source, Target(entity=ref.entity, project=ref.project), base_url),
    )
    files = hashed(order.files)
    algorithm = versions[-1].digest_algorithm if versions else "MANIFEST_MD5"
    references = FileReferences(files=files, base_url=base_url, prefix=prefix, algorithm=algorithm)
    same = references.same_among(versions)
    commit = commit_of(same.metadata, same.digest) if same is not None else None
    if commit is not None:
        write.prove(commit)
    else:
        work = _work(order, tracker, source, config, ref=ref, repo=repo, prefix=prefix, files=files)
        commit = write.commit(work)
    served = references.url(commit, LINEAGE_PATH)
    manifest = references.manifest(commit, etags=etagged(served))
    link = Published(commit=commit, url=served, digest=version_digest(manifest, algorithm))
    made = source.version(
        tracker.log(
            Draft(
                collection=order.collection,
                type=order.type,
                manifest=manifest,
                algorithm=algorithm,
                metadata=link.into(order.metadata or {}),
                description=order.description,
                aliases=order.aliases,
            )
        )
    )
    standing = commit_of(made.metadata, made.digest)
    if standing is None:
        raise PermanentError(
            f"{made.ref} holds the same content and does not say which commit it stands for",
            hint="Somebody logged these references by hand. Delete that version, then publish again.",
        )
    lacking = [alias for alias in order.aliases if alias not in made.aliases]
    if lacking:  # W&B handed back a version that was there
        source.move_aliases(made, lacking)
    born = published_of(made.metadata, made.digest) is not None
    main = config.oxen.main_branch
    names = [version_branch(made.index, prefix)] if born else []
    names += [alias_branch(a, prefix, main=main) for a in sorted({*made.aliases, *order.aliases})]
    write.point(standing, names)
    add_output(tracker, made, standing)
    return Publication(version=str(made.ref), commit=standing)


def _versions(source: ArtifactSource, ref: ArtifactRef, kind: str) -> list[Version]:
    """The versions of the collection, none when it is new.

    Raises:
        UsageError: when it is of another type.
    """
    target = Target.of(ref)
    try:
        found = retry.call(lambda: list(source.versions(target)), what=f"list versions of {target}")
    except NotFoundError:
        return []
    if found and found[-1].type != kind:
        raise UsageError(
            f"{target} holds versions of type {found[-1].type!r}, not {kind!r}",
            hint=f"Publish with type={found[-1].type!r}, or under another name.",
        )
    return found


def _work(
    order: Order,
    tracker: Tracker,
    source: ArtifactSource,
    config: Config,
    *,
    ref: ArtifactRef,
    repo: RepoRef,
    prefix: str,
    files: tuple[LocalFile, ...],
) -> Work:
    run = retry.call(lambda: source.run(tracker.ref), what=f"read {tracker.ref}")
    known = {item["oxen"] for item in inputs_of(run)}
    pinned = [
        {
            "artifact": None,
            "id": None,
            "type": "model" if name == "model" else "dataset",
            "digest": None,
            "oxen": str(order.inputs[name]),
        }
        for name in order.inputs or ()
        if order.inputs is not None and str(order.inputs[name]) not in known
    ]
    config_now = {key: value for key, value in tracker.config.items() if key != KEY}
    return Work(
        ref=ref,
        type=order.type,
        repo=repo,
        # Where versions are candidates, this one is its run's: it has no number yet.
        branch=order.branch
        or branch_of(replace(ref, alias=tracker.ref.run_id), order.type, config),
        main=config.oxen.main_branch,
        prefix=prefix,
        files=files,
        run=Run(
            id=run.id,
            ref=tracker.ref,
            name=tracker.name,
            state="running",
            url=tracker.url,
            config=config_now,
        ),
        inputs=(*inputs_of(run), *pinned),
        author=tracker.author,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        subject=order.message,
        description=order.description,
        metadata=dict(order.metadata or {}),
        aliases=order.aliases,
    )


def _repo(text: str) -> RepoRef:
    url = OxenURL.parse(f"{text}@main")
    if url.path or url.revision != "main":
        raise UsageError(f"{text!r} is not a repository", hint="Write oxen://namespace/repo.")
    return check_repo(url.repo)
