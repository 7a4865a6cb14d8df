"""Nothing is merged into a branch that is a W&B alias's."""

from __future__ import annotations

import pytest
from promoted_project import MODEL, REPO, Models

from syncd.clients.commits import Commit
from syncd.errors import UsageError
from syncd.promotion.branches import refuse_alias
from syncd.refs import ArtifactRef
from syncd.stages.discover import held


def refuse(models: Models, branch: str, *, asked: bool) -> None:
    """Ask for the second of two versions, with W&B or without."""
    runtime = models.moved.runtime
    candidate = models.store.resolve(REPO, "wandb/v1") or models.store.resolve(REPO, "main")
    assert isinstance(candidate, Commit)
    source = models.source if asked else None
    refuse_alias(source, models.store, runtime.config, candidate, branch)


@pytest.mark.parametrize("asked", [True, False], ids=["W&B", "Oxen alone"])
def test_the_branch_of_a_promoted_alias_takes_no_merge(asked: bool, models: Models) -> None:
    """The error names the alias, the version it is at, and the way to go."""
    first, _ = models.make(2)
    models.promote(first)

    with pytest.raises(UsageError, match=f"W&B's alias {MODEL}:production") as refused:
        refuse(models, "production", asked=asked)
    assert str(first.ref) in str(refused.value)
    assert "syncd promote REF production" in (refused.value.hint or "")


@pytest.mark.parametrize("asked", [True, False], ids=["W&B", "Oxen alone"])
def test_so_does_one_that_a_person_gave(asked: bool, models: Models) -> None:
    """The lineage file at the branch knows it from the day of the move."""
    models.make(1, aliases=("best",))
    models.make(1)

    with pytest.raises(UsageError, match=f"W&B's alias {MODEL}:best"):
        refuse(models, "best", asked=asked)


def test_an_alias_whose_branch_is_not_there_yet_is_refused(models: Models) -> None:
    """The branch would be made by the merge, and moved when the alias is followed."""
    first, _ = models.make(2)
    models.source.move_aliases(first, ["soon"])
    assert held(models.source, ArtifactRef.parse(f"{MODEL}:soon"))

    with pytest.raises(UsageError, match=f"W&B's alias {MODEL}:soon"):
        refuse(models, "soon", asked=True)


@pytest.mark.parametrize("asked", [True, False], ids=["W&B", "Oxen alone"])
@pytest.mark.parametrize("branch", ["main", "next", "team/next"])
def test_other_branches_take_merges(branch: str, asked: bool, models: Models) -> None:
    """Also one that stands at a version's commit, which no alias names."""
    models.make(2)
    head = models.store.resolve(REPO, "main")
    assert head is not None
    models.store.set_branch(head.ref, branch)
    refuse(models, branch, asked=asked)
