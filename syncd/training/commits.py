"""One Oxen commit of what a run publishes: files of this disk, and the file that says where they come from.

The commit is W&B's version before W&B has it: its message names the collection, and the number is told
by the branch that `point` sets when W&B has given one. What was committed before is found by what its
message says of run and content, among the latest commits of the branch.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from syncd import retry
from syncd.clients.artifacts import Run, Version
from syncd.clients.commits import Author, Commit, StoredContent, TreeEntry
from syncd.clients.protocols import VersionStore
from syncd.entry import Entry
from syncd.errors import (
    AuthenticationError,
    InvalidNameError,
    PermanentError,
    RepositoryConflictError,
    SyncdError,
    TransientError,
    VerificationError,
)
from syncd.manifest import Manifest
from syncd.refs import ArtifactRef, CommitRef, RepoRef
from syncd.stages.commit import refuse_foreign
from syncd.training.local import LocalFile
from syncd.versions.commit_texts import lineage, message
from syncd.versions.contents import groups
from syncd.versions.plans import LINEAGE_PATH, Decision, PlannedEntries, TransferPlan

Result = TypeVar("Result")
AT_ONCE = 4  # files, or groups of small ones, on their way
PATIENCE = retry.Policy(attempts=8, longest_wait=8)
LATEST = 200  # commits of a branch among which an earlier attempt's is looked for
CONTENT = "Wandb-Content"  # the trailer that names what a commit holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be committed; it can be handed to another process.

    Args:
        ref: `entity/project/collection`, without a number.
        type: the artifact type.
        repo: the repository.
        branch: the branch.
        main: the branch that a new branch begins at.
        prefix: the folder of the tree that versions lie in; empty for the root.
        files: what is published, sorted by path.
        run: who publishes, without inputs and outputs.
        inputs: what the run used, as a lineage file has it.
        author: W&B user name; empty when unknown.
        created_at: ISO 8601, UTC.
        subject: the first line of the commit's message; empty for the usual one.
        description: as W&B shows it.
        metadata: as W&B shows it.
        aliases: as asked for.
    """

    ref: ArtifactRef
    type: str
    repo: RepoRef
    branch: str
    main: str
    prefix: str
    files: tuple[LocalFile, ...]
    run: Run
    inputs: tuple[dict[str, Any], ...]
    author: str
    created_at: str
    subject: str = ""
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """Names the files and where they lie; sha256."""
        lines = (f"{file.path} {file.hash} {file.size}\n" for file in self.files)
        return hashlib.sha256("".join([f"{self.prefix}\n", *lines]).encode()).hexdigest()


def prove(store: VersionStore, commit: CommitRef) -> None:
    """Read a commit back from Oxen.

    Raises:
        VerificationError: when what is read is not what went in.
    """
    problems = retry.call(lambda: list(store.verify(commit)), what=f"verify {commit}")
    if problems:
        raise VerificationError(
            f"{commit} could not be proved: {problems[0]}",
            hint="Nothing was logged to W&B. Look after Oxen's disk, then publish again.",
        )


def commit(store: VersionStore, work: Work) -> CommitRef:
    """Commit the files and prove it, or prove the commit that an earlier attempt made.

    Raises:
        RepositoryConflictError: when the branch holds another collection or somebody's own commits.
        VerificationError: when what is read back is not what went in.
        IntegrityError: when a file changes meanwhile.
    """
    plan = _plan(work)
    head = retry.call(lambda: _head(store, work), what=f"read {work.repo}")
    refuse_foreign(head, plan)
    looked: set[str] = set()
    made = _made_before(store, work, head, looked)
    if made is None:
        _bring(store, work, plan)
        # Nothing is committed twice: a commit whose answer was lost is found by the next attempt.
        made = _among_others(lambda: _commit(store, work, plan, looked), f"commit to {work.repo}")
    prove(store, made)
    if work.branch != work.main and store.resolve(work.repo, work.main) is None:
        point(store, made, [work.main])  # the first version is where the main branch begins
    return made


def point(store: VersionStore, commit: CommitRef, branches: Iterable[str]) -> None:
    """Point branches at a commit; those that do already are left alone."""

    def move() -> None:
        heads = store.branches(commit.repo)
        for name in branches:
            if heads.get(name) != commit.commit:
                store.set_branch(commit, name)

    retry.call(move, what=f"set the branches of {commit}")


def _head(store: VersionStore, work: Work) -> Commit | None:
    """The head of the branch; a new branch begins where the main branch is."""
    head = store.resolve(work.repo, work.branch)
    if head is None and work.branch != work.main:
        head = store.resolve(work.repo, work.main)
        if head is not None:
            store.set_branch(head.ref, work.branch)
    return head


def _made_before(
    store: VersionStore, work: Work, head: Commit | None, looked: set[str]
) -> CommitRef | None:
    """The commit that an earlier attempt of this run made of this content.

    Args:
        store: Oxen.
        work: what is to be committed.
        head: of the branch.
        looked: commits that are known to be others; those that are seen come to be among them.
    """
    wanted = (str(work.run.ref), work.content)
    for _ in range(LATEST):
        if head is None or head.ref.commit in looked:
            return None
        said = head.trailers
        if (said.get("Wandb-Run"), said.get(CONTENT)) == wanted:
            return head.ref
        looked.add(head.ref.commit)
        parent = head.parents[0] if head.parents else ""
        head = store.resolve(work.repo, parent) if parent else None
    return None


class _InTheWayError(TransientError):
    """A store refused something, maybe because of another writer at the same time."""


def _among_others(function: Callable[[], Result], what: str) -> Result:
    """Call until it succeeds; who met another writer begins anew on top of what that one made.

    A server refuses a merge into what another one has moved, or there is another tree than expected.
    """

    def attempt() -> Result:
        try:
            return function()
        except (AuthenticationError, InvalidNameError, RepositoryConflictError):
            raise
        except PermanentError as error:
            raise _InTheWayError(str(error), hint=error.hint) from error

    try:
        return retry.call(attempt, what=what, policy=PATIENCE)
    except _InTheWayError as error:
        raise (error.__cause__ or error) from None


def _bring(store: VersionStore, work: Work, plan: TransferPlan) -> None:
    """See that the repository holds the contents."""
    unique = {file.hash: file for file in work.files}
    missing = retry.call(
        lambda: store.missing(work.repo, unique), what=f"ask {work.repo} what it holds"
    )
    if not missing:
        return
    files = [(plan.tree_path(file.path), file.hash) for file in work.files]
    files.append((plan.tree_path(LINEAGE_PATH), ""))
    _among_others(
        lambda: store.expect(work.repo, work.branch, files), f"prepare {work.repo} for a commit"
    )
    wanted = (
        _Placed(file=unique[content], path=plan.tree_path(unique[content].path))
        for content in sorted(missing)
    )

    def bring(group: Sequence[_Placed]) -> None:
        left = list(group)

        def attempt() -> None:
            outcomes = store.bring(work.repo, left)
            failed = [
                (item, o)
                for item, o in zip(left, outcomes, strict=True)
                if isinstance(o, SyncdError)
            ]
            left[:] = [item for item, _ in failed]
            if failed:
                raise failed[0][1]

        _among_others(attempt, f"send {group[0].path} to {work.repo}")

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="publish") as pool:
        for done in [pool.submit(bring, group) for group in groups(wanted, lambda item: item.size)]:
            done.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A file under the path that the tree has it at: the `Content` that is sent."""

    file: LocalFile
    path: str

    @property
    def key(self) -> str:
        return self.file.key

    @property
    def size(self) -> int:
        return self.file.size

    @property
    def hash(self) -> str:
        return self.file.hash

    def chunks(self, before: Iterable[bytes] = ()) -> Iterator[bytes]:
        return self.file.chunks(before)

    def part(self, begin: int, size: int) -> Iterator[bytes]:
        return self.file.part(begin, size)


def _commit(store: VersionStore, work: Work, plan: TransferPlan, looked: set[str]) -> CommitRef:
    head = _head(store, work)  # others may have committed since
    refuse_foreign(head, plan)
    made = _made_before(store, work, head, looked)
    if made is not None:
        return made
    held = {file.digest: StoredContent(hash=file.hash, size=file.size) for file in work.files}
    document = lineage(plan, lambda _digests: held, work.run, used=work.inputs)
    stored = store.put(work.repo, document)
    tree = [
        TreeEntry(path=plan.tree_path(file.path), hash=file.hash, size=file.size)
        for file in work.files
    ]
    tree.append(TreeEntry(path=plan.tree_path(LINEAGE_PATH), hash=stored.hash, size=stored.size))
    if work.prefix and head is not None:
        tree += [e for e in store.tree(head.ref) if not e.path.startswith(f"{work.prefix}/")]
    subject = (
        work.subject or f"{work.ref.collection} of run {work.run.name}: {len(work.files)} files"
    )
    made = store.commit(
        work.repo,
        branch=work.branch,
        tree=sorted(tree, key=lambda entry: entry.path),
        message=message(plan, work.run, subject=subject, more={CONTENT: work.content}),
        author=Author(name=work.author or "syncd", email=f"{work.author or 'syncd'}@wandb.invalid"),
    )
    if _made_before(store, work, _head(store, work), looked) is None:
        raise PermanentError(f"another writer moved {work.branch} of {work.repo} meanwhile")
    return made


def _plan(work: Work) -> TransferPlan:
    """The version as the path knows one that W&B has logged, all of which moves."""
    entries = Manifest(
        entries={
            file.path: Entry(
                path=file.path,
                digest=base64.b64encode(bytes.fromhex(file.digest[1])).decode(),
                size=file.size,
                algorithm="XXH128",
            )
            for file in work.files
        }
    )
    planned = PlannedEntries(entries.entries)
    for file in work.files:
        planned.add(Decision.MOVE, "", file.size)
    version = Version(
        id="",
        ref=work.ref,
        type=work.type,
        digest="",
        size=entries.size,
        file_count=len(work.files),
        created_at=work.created_at,
        aliases=work.aliases,
        description=work.description,
        metadata=work.metadata,
        run=work.run.ref,
        author=work.author,
    )
    return TransferPlan(
        version=version,
        manifest=entries,
        entries=planned,
        repo=work.repo,
        branch=work.branch,
        main=work.main,
        prefix=work.prefix,
    )
