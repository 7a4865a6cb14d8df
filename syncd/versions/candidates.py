"""Candidates: versions on branches of their own, which the main branch follows only when told to.

Where `[oxen] branch` is a template, each version is committed to a branch of its own. It stands on
the version that its run made it from, where that is in the repository, and else on the main branch's
head; the first version of all is where the main branch begins. A branch is begun by pointing it
there; a kill right then leaves one that holds nothing of its own, and it is begun anew.
"""

from __future__ import annotations

from syncd.clients.protocols import VersionStore
from syncd.errors import RepositoryConflictError
from syncd.refs import CommitRef
from syncd.versions.ancestry import descends
from syncd.versions.plans import TransferPlan


def begin(store: VersionStore, plan: TransferPlan, start: CommitRef | None = None) -> None:
    """Make the branch that a version goes to, unless it is the main one.

    Args:
        store: Oxen; the caller sees to it that nobody else writes in the repository.
        plan: the version and where it goes.
        start: the commit that it begins with, in place of the main branch's head.

    Raises:
        RepositoryConflictError: when the branch holds something else.
    """
    if plan.branch == plan.main:
        return
    tip = store.resolve(plan.repo, plan.branch)
    head = store.resolve(plan.repo, plan.main)
    if tip is not None:
        if tip.trailers.get("Wandb-Artifact-Id") == plan.version.id:
            return
        ends = [*([head.ref] if head else []), *([start] if start else [])]
        if not any(descends(store, plan.repo, end.commit, tip.ref.commit) for end in ends):
            raise RepositoryConflictError(
                f"branch {plan.branch} of {plan.repo} holds {tip.ref.commit}, which is not "
                f"{plan.version.ref}",
                hint="Give [oxen] branch a template that tells versions apart, such as "
                '"candidate/{collection}/{version}"; or delete the branch.',
            )
    if head is not None and not head.trailers:
        return  # a stranger's: the commit is going to be refused, and nothing is to be left there
    begun = start or (head.ref if head else None)
    if begun is not None and (tip is None or tip.ref != begun):
        store.set_branch(begun, plan.branch)
