"""Linking versions into portfolios: ordinary projects get what they need made, registries have conditions."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state import collections, entities, memberships, projects, versions
from syncd.sandbox.state.database import Database
from syncd.sandbox.state.records import Artifact, Collection, Entity, Membership, Project, User


def _owner(db: Database, source: Artifact, entity_name: str | None) -> tuple[Project, Entity]:
    sequence = collections.get(db, source.sequence_id)
    project = projects.get(db, sequence.project_id)
    if entity_name:
        return project, entities.require_entity(db, entity_name)
    return project, entities.entity(db, project.entity_id)


def portfolio(
    db: Database,
    who: User,
    source: Artifact,
    *,
    entity_name: str | None,
    project_name: str | None,
    name: str | None,
) -> Collection:
    """The portfolio a version is to be linked to, made if need be."""
    if not name or not project_name:
        raise SandboxError("a link needs a project and a portfolio name")
    origin, owner = _owner(db, source, entity_name)
    sequence = collections.get(db, source.sequence_id)
    if projects.is_registry(project_name) and owner.kind == "organization":
        team = entities.entity(db, origin.entity_id)
        if team.organization_id != owner.organization_id:
            raise SandboxError(
                f"{team.name!r} does not belong to the organization of registry {project_name!r}"
            )
        if projects.by_name(db, owner.name, project_name) is None:
            raise not_found(f"registry {project_name!r}")
    project = projects.put(db, who, owner, project_name)
    type_name = projects.artifact_type(db, sequence.type_id).name
    return collections.put(db, project, name, kind=collections.PORTFOLIO, type_name=type_name)


def link(db: Database, source: Artifact, target: Collection, aliases: Sequence[str]) -> Membership:
    """Put a committed version into a portfolio. The newest link there is `latest`; linking again adds aliases only."""
    if source.state != versions.COMMITTED:
        raise SandboxError("only a committed artifact version can be linked")
    sequence = collections.get(db, source.sequence_id)
    if (
        projects.artifact_type(db, sequence.type_id).name
        != projects.artifact_type(db, target.type_id).name
    ):
        raise SandboxError(f"portfolio {target.name!r} holds another type of artifacts")
    membership = memberships.of(db, target, source)
    names = list(aliases)
    if membership is None:
        membership = memberships.add(db, target, source)
        names.append(memberships.LATEST)
        if projects.is_registry(projects.get(db, target.project_id).name):
            # What a registry refers to must not expire.
            versions.change(
                db, source, description=None, metadata=None, ttl_seconds=versions.TTL_DISABLED
            )
    memberships.give(db, membership, names)
    return membership
