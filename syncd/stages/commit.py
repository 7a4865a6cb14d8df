"""Commit: one Oxen commit per version, its complete tree, and the file that says where it came from.

The message ends in git-style trailers; the tree holds `.syncd/lineage.json` with the run, its
config, the inputs with THEIR commits, and the W&B digest of every file. Done before, it is found by
the version's branch or, when a kill came between commit and branch, by the trailers of the head.
Where versions are candidates, each has one branch more, and the main one stays (`candidates`).
"""

from __future__ import annotations

from operator import itemgetter

from syncd.blocks import Builder
from syncd.clients.artifacts import Run, Version
from syncd.clients.commits import Author, Commit, StoredContent
from syncd.clients.protocols import VersionStore
from syncd.errors import NotFoundError, RepositoryConflictError
from syncd.naming import alias_branch, index_at, version_branch
from syncd.refs import ArtifactRef, CommitRef
from syncd.versions import candidates
from syncd.versions.commit_texts import inputs, lineage, message
from syncd.versions.plans import LINEAGE_PATH, Contents, Decision, PlannedEntry, TransferPlan
from syncd.versions.trees import PackedTree

LINE = "Wandb-Version"  # the trailer of a merge: the newest version that went into it


def commit(
    store: VersionStore,
    plan: TransferPlan,
    contents: Contents,
    *,
    run: Run | None,
) -> CommitRef:
    """Commit a version whose contents the store holds; the earlier commit when there is one.

    Args:
        store: Oxen.
        plan: the version and where it goes.
        contents: what the store holds, see `TransferPlan.located`.
        run: the run that logged the version.

    Raises:
        RepositoryConflictError: when the repository holds another collection or somebody's own
            commits.
        TransientError: when `contents` does not know a digest.
    """
    version, prefix = plan.version, plan.prefix
    own_branch = version_branch(version.index, prefix)
    found = store.resolve(plan.repo, own_branch)
    head = store.resolve(plan.repo, plan.main)
    refuse_foreign(head, plan)
    tip = head if plan.branch == plan.main else store.resolve(plan.repo, plan.branch)
    if found is None and tip is not None and _is_of(tip, version):
        # Made before its branch could be, unless [oxen] path was another one then.
        found = tip if lies_at(store, tip.ref, plan) else None
    if found is not None and not _is_of(found, version):
        raise _conflict(found, own_branch, plan)
    if found is not None:
        ref = found.ref
    else:
        if head is not None:
            _heal(store, head, plan)
        tree = Builder()

        def take(item: PlannedEntry, content: StoredContent) -> None:
            tree.add((plan.tree_path(item.entry.path), content.hash, content.size))

        stored = store.put(plan.repo, lineage(plan, contents, run, take))
        for item, content in plan.located(contents, Decision.OXEN):
            take(item, content)
        tree.add((plan.tree_path(LINEAGE_PATH), stored.hash, stored.size))
        if prefix and head is not None:
            tree.extend(
                (entry.path, entry.hash, entry.size)
                for entry in store.tree(head.ref)
                if not entry.path.startswith(f"{prefix}/")
            )
        # An older version that was quarantined, and moves after newer ones, must not become what the
        # main branch shows: it is committed to its own branch alone. A candidate does not become that.
        late = (
            plan.branch == plan.main
            and head is not None
            and not prefix
            and _index(store, head) > version.index
        )
        candidates.begin(store, plan, _made_from(store, plan, run))
        ref = store.commit(
            plan.repo,
            branch=own_branch if late else plan.branch,
            tree=PackedTree(tree.build()),
            message=message(plan, run),
            author=Author(
                name=version.author or "syncd",
                email=f"{version.author or 'syncd'}@wandb.invalid",
            ),
        )
    if head is None and plan.branch != plan.main:
        store.set_branch(ref, plan.main)
    store.set_branch(ref, own_branch)
    for alias in version.aliases:
        store.set_branch(ref, alias_branch(alias, prefix, main=plan.main))
    return ref


def _conflict(found: Commit, branch: str, plan: TransferPlan) -> RepositoryConflictError:
    ref = plan.version.ref
    holds = found.trailers.get("Wandb-Artifact", "another commit")
    told = f"branch {branch} of {plan.repo} holds"
    if holds != str(ref):
        return RepositoryConflictError(f"{told} {holds}, not {ref}")
    return RepositoryConflictError(
        f"{told} {ref} of another collection, which had this name before "
        f"({found.trailers.get('Wandb-Artifact-Id', '')})",
        hint="Rename the newer collection in W&B: it is moved to a repository of its own then.",
    )


def _made_from(store: VersionStore, plan: TransferPlan, run: Run | None) -> CommitRef | None:
    """The newest version of the same collection that a candidate's run used, where it is there."""
    found: list[tuple[int, CommitRef]] = []
    for item in inputs(run) if plan.branch != plan.main else ():
        ref = CommitRef.parse(item["oxen"]) if item["oxen"] else None
        used, own = ArtifactRef.parse(item["artifact"]), plan.version.ref
        same = used.place == own.place
        if ref and same and ref.repo == plan.repo and store.resolve(ref.repo, ref.commit):
            found.append((used.index or 0, ref))
    return max(found, key=itemgetter(0), default=(0, None))[1]


def _heal(store: VersionStore, head: Commit, plan: TransferPlan) -> None:
    """Give the head its version's branch, which a kill may have kept from it."""
    named = head.trailers.get("Wandb-Artifact")
    if named is None:
        return
    index = ArtifactRef.parse(named).index
    # With a prefix the head may be another collection's, whose folder is not known here.
    if index is not None and not plan.prefix:
        branch = version_branch(index, plan.prefix)
        if store.resolve(plan.repo, branch) is None:
            store.set_branch(head.ref, branch)


def refuse_foreign(head: Commit | None, plan: TransferPlan) -> None:
    """See that a branch may take a version: that its tree would hide nobody else's files.

    Raises:
        RepositoryConflictError: when the branch holds another collection or somebody's own commits.
    """
    if head is None:
        return
    named = _named(head)
    if named is None:
        raise RepositoryConflictError(
            f"{plan.repo} holds a commit that syncd did not make ({head.ref.commit}); "
            "the version's tree would hide its files",
            hint="Give [oxen] repo a template that names another repository.",
        )
    own = plan.version.ref
    theirs = ArtifactRef.parse(named)
    if not plan.prefix and theirs.place != own.place:
        raise RepositoryConflictError(f"{plan.repo} holds {named}, another collection than {own}")


def _index(store: VersionStore, found: Commit) -> int:
    """The number of the version that a commit of syncd's holds; -1 when it has none.

    A version that was born in Oxen had no number yet when it was committed: its branch names it.
    """
    named = _named(found)
    index = ArtifactRef.parse(named).index if named else None
    if index is None:
        index = index_at(store.branches(found.ref.repo), found.ref.commit)
    return -1 if index is None else index


def _named(found: Commit) -> str | None:
    """The version that a commit of syncd's holds or, when it is a merge, the newest one in it."""
    said = found.trailers
    return said.get("Wandb-Artifact") or said.get(LINE)


def lies_at(store: VersionStore, commit: CommitRef, plan: TransferPlan) -> bool:
    """Whether a version was committed where it is to lie by the configuration of now."""
    if commit.repo != plan.repo:
        return False
    try:
        next(iter(store.read(commit, plan.tree_path(LINEAGE_PATH))), b"")
    except NotFoundError:
        return False
    return True


def _is_of(found: Commit, version: Version) -> bool:
    return found.trailers.get("Wandb-Artifact-Id") == version.id
