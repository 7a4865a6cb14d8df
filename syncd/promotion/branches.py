"""Branches that are W&B aliases': they move with the alias, and nothing is merged into them.

A merge into one would part both sides: W&B's alias names a version, the branch a commit that is none,
and whoever follows the aliases next moves the branch back, so that the merge is on no branch any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from syncd.clients.commits import Commit
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, UsageError
from syncd.promotion.journal import Journal, home
from syncd.promotion.located import branch_of
from syncd.refs import ArtifactRef
from syncd.stages.commit import LINE
from syncd.stages.discover import held
from syncd.stages.plan import place
from syncd.versions.events import of, trail
from syncd.versions.lineages import MALFORMED, story
from syncd.versions.plans import lineage_in


def refuse_alias(
    source: ArtifactSource | None,
    store: VersionStore,
    config: Config,
    candidate: Commit | None,
    branch: str,
) -> None:
    """See that a branch is no alias's.

    Args:
        source: W&B; None where it cannot be asked, and Oxen tells what it knows: the journal, and
            which aliases a version had when it was moved.
        store: Oxen.
        config: names the main branch, which is no alias's, and the folders of versions.
        candidate: what is to be merged; its version and that at the branch name the collections.
        branch: what it is to be merged into.

    Raises:
        UsageError: when it is an alias's.
        SyncdError: when a side cannot be asked.
    """
    if candidate is None or branch == config.oxen.main_branch:
        return
    head = store.resolve(candidate.ref.repo, branch)
    for ref, folder in _meant((candidate, head), branch, config):
        if source is None:
            version = _told(store, config, ref, folder, head)
        else:
            holder = held(source, ref)
            version = str(holder.ref) if holder else ""
        if version:
            way = (
                "W&B moves `latest` to the newest version by itself."
                if ref.alias == "latest"
                else f"To move both, `syncd promote REF {ref.alias}`."
            )
            raise UsageError(
                f"{branch} is the branch of W&B's alias {ref}, which names {version}; it moves with "
                "that alone",
                hint=f"Merge into another branch, by default {config.oxen.main_branch}. {way}",
            )


def _meant(
    commits: Iterable[Commit | None], branch: str, config: Config
) -> Iterable[tuple[ArtifactRef, str]]:
    """The aliases that a branch could be of, each with the folder of its versions."""
    found: dict[ArtifactRef, str] = {}
    for commit in commits:
        said = commit.trailers if commit else {}
        named = said.get("Wandb-Artifact") or said.get(LINE)
        if not named:
            continue
        ref = ArtifactRef.parse(named)
        folder = place(ref, said.get("Wandb-Artifact-Type", ""), config)[1]
        alias = branch.removeprefix(f"{folder}/") if folder else branch
        if alias and branch_of(config, alias, folder) == branch:
            found[ArtifactRef.parse(f"{ref.entity}/{ref.project}/{ref.collection}:{alias}")] = (
                folder
            )
    return found.items()


def _told(
    store: VersionStore, config: Config, ref: ArtifactRef, folder: str, head: Commit | None
) -> str:
    """The version that an alias names as far as Oxen knows; empty for none."""
    if head is None:
        return ""
    stood = trail(of(Journal(store, home(config, ref.entity)).events(), str(ref)))
    if stood and stood[-1].commit == head.ref:
        return stood[-1].version
    try:
        artifact = story(store.read(head.ref, lineage_in(folder))).artifact
    except (NotFoundError, *MALFORMED):
        return ""
    return str(artifact.get("ref")) if ref.alias in (artifact.get("aliases") or ()) else ""
