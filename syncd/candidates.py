"""Candidates: versions on branches of their own, which the main branch follows only when told to.

Where `[oxen] branch` is a template, each version is committed to a branch of its own on top of the
main one. Such a branch is begun by pointing it at the main branch's head; a kill right then leaves
one that holds nothing of its own, and it is begun anew.
"""

from __future__ import annotations

from syncd.ancestry import descends
from syncd.clients.protocols import VersionStore
from syncd.errors import RepositoryConflictError
from syncd.plans import TransferPlan


def begin(store: VersionStore, plan: TransferPlan) -> None:
    """Make the branch that a version goes to, on top of the main one, unless it is the main one.

    Args:
        store: Oxen; the caller sees to it that nobody else writes in the repository.
        plan: the version and where it goes.

    Raises:
        RepositoryConflictError: when the branch holds something else.
    """
    if plan.branch == plan.main:
        return
    tip = store.resolve(plan.repo, plan.branch)
    head = store.resolve(plan.repo, plan.main)
    if tip is not None:
        if f"Wandb-Artifact-Id: {plan.version.id}" in tip.message.splitlines()[1:]:
            return
        if head is None or not descends(store, plan.repo, head.ref.commit, tip.ref.commit):
            raise RepositoryConflictError(
                f"branch {plan.branch} of {plan.repo} holds {tip.ref.commit}, which is not "
                f"{plan.version.ref}",
                hint="Give [oxen] branch a template that tells versions apart, such as "
                '"candidate/{collection}/{version}"; or delete the branch.',
            )
    if head is not None and "\nWandb-" not in head.message:
        return  # a stranger's: the commit is going to be refused, and nothing is to be left there
    if head is not None and (tip is None or tip.ref != head.ref):
        store.set_branch(head.ref, plan.branch)
