"""Rows as frozen values; the fields are the columns, in the order of schema.sql."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A person or service with an API key."""

    id: int
    name: str
    email: str
    api_key: str
    admin: int
    default_entity: str
    flags: str | None
    deleted_at: str | None


@dataclass(frozen=True, slots=True)
class Entity:
    """The owner of projects: a user, a team or an organization."""

    id: int
    name: str
    kind: str
    user_id: int | None
    organization_id: int | None


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization and the entity that owns its registries."""

    id: int
    name: str
    entity_id: int


@dataclass(frozen=True, slots=True)
class Member:
    """A user's role in an entity."""

    entity_id: int
    user_id: int
    role: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Project:
    """A project, or a registry."""

    id: int
    entity_id: int
    user_id: int
    name: str
    description: str | None
    access: str | None
    any_type: int
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its counters; history lines are elsewhere."""

    id: int
    project_id: int
    user_id: int
    name: str
    display_name: str | None
    description: str | None
    notes: str | None
    state: str
    config: str
    summary_metrics: str
    group_name: str | None
    job_type: str | None
    git_commit: str | None
    host: str | None
    program: str | None
    repo: str | None
    sweep_name: str | None
    tags: str
    stopped: int
    exit_code: int | None
    history_keys: str
    history_line_count: int
    events_line_count: int
    log_line_count: int
    created_at: str
    updated_at: str
    heartbeat_at: str


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file saved with a run."""

    id: int
    run_id: int
    name: str
    size: int
    md5: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """A type of artifacts in one project."""

    id: int
    project_id: int
    name: str
    description: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A sequence of own versions or a portfolio of linked ones."""

    id: int
    project_id: int
    type_id: int
    kind: str
    name: str
    description: str | None
    state: str
    digest_algorithm: str | None
    next_index: int
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version."""

    id: int
    sequence_id: int
    user_id: int
    run_id: int | None
    state: str
    version_index: int | None
    digest: str
    digest_algorithm: str | None
    description: str | None
    metadata: str | None
    ttl_seconds: int | None
    history_step: int | None
    distributed_id: str | None
    wanted_aliases: str
    size: int
    file_count: int
    commit_hash: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Membership:
    """One version inside one collection."""

    id: int
    collection_id: int
    artifact_id: int
    version_index: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name of a version inside a collection."""

    id: int
    collection_id: int
    membership_id: int
    alias: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A label of versions or collections."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """An announced manifest file of a version."""

    id: int
    artifact_id: int
    base_artifact_id: int | None
    name: str
    type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a committed version."""

    artifact_id: int
    position: int
    path: str
    digest: str
    blob: str | None
    size: int
    ref: str | None
