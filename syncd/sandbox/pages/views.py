"""One function per page: what was asked, the page as an answer."""

from __future__ import annotations

import json
from typing import TypeAlias

from starlette.responses import Response

from syncd.sandbox.errors import SandboxError
from syncd.sandbox.pages.html import Html, Node, document, element, join, link, reference
from syncd.sandbox.pages.parts import (
    Asked,
    chips,
    collection_path,
    document_of,
    facts,
    listing,
    path,
    project_path,
    prose,
    run_link,
    run_link_of,
    section,
    size,
    version_link,
    version_links,
)
from syncd.sandbox.state import (
    collections,
    entities,
    lineage,
    manifests,
    memberships,
    overview,
    projects,
    runs,
    tags,
    versions,
)
from syncd.sandbox.state.paging import Connection
from syncd.sandbox.state.records import Artifact, Collection, Entry, Project, Run

_Row: TypeAlias = list[Node]


def missing() -> Response:
    """The page for what is not there."""
    return document("Not found", [], element("p", "There is nothing by this name."), status=404)


def everything(asked: Asked) -> Response:
    """All projects."""
    db = asked.db

    def row(project: Project) -> _Row:
        names = project_path(db, project)
        shown = link(path(*names, "artifacts"), "/".join(names))
        return [shown, project.description or "", project.created_at]

    found = overview.all_projects(db, asked.window("after"))
    return document(
        "Projects", [], listing(asked, "after", ["Project", "Description", "Created"], found, row)
    )


def project_page(asked: Asked) -> Response:
    """The collections and runs of a project."""
    db = asked.db
    owner, name = asked.parts[:2]
    project = projects.require(db, owner, name)

    def row(collection: Collection) -> _Row:
        names = collection_path(db, collection)
        newest = memberships.newest(db, collection)
        return [
            link(path(*names), collection.name),
            names[-2],
            collection.kind.lower(),
            "" if newest is None else _version(newest.version_index, names),
            chips(tag.name for tag in collections.tags(db, collection)),
            collection.updated_at,
        ]

    found = collections.listing(
        db, [collections.in_project(project)], window=asked.window("collections")
    )
    logged = runs.listing(db, project, window=asked.window("runs"))
    headings = ["Collection", "Type", "Kind", "Newest", "Tags", "Updated"]
    return document(
        f"{owner}/{name}",
        [],
        prose(project.description),
        section("Collections", listing(asked, "collections", headings, found, row)),
        section("Runs", _runs(asked, "runs", logged)),
    )


def _version(index: int, names: tuple[str, ...]) -> Html:
    return link(path(*names, f"v{index}"), f"v{index}")


def _runs(asked: Asked, name: str, found: Connection[Run]) -> Html:
    def row(run: Run) -> _Row:
        return [run_link(asked.db, run), run.name, run.state, run.created_at]

    return listing(asked, name, ["Run", "Id", "State", "Created"], found, row)


def _collection(asked: Asked) -> tuple[Collection, tuple[str, ...]]:
    owner, name, _, type_name, collection_name = asked.parts[:5]
    found = collections.by_path(asked.db, owner, name, collection_name)
    if projects.artifact_type(asked.db, found.type_id).name != type_name:
        raise SandboxError("no such collection of this type")
    return found, collection_path(asked.db, found)


def collection_page(asked: Asked) -> Response:
    """The versions of a collection, the newest first."""
    db = asked.db
    collection, names = _collection(asked)

    def row(version: Artifact) -> _Row:
        membership = memberships.require(db, collection, version)
        return [
            _version(membership.version_index, names),
            chips(alias.alias for alias in memberships.aliases(db, membership)),
            chips(tag.name for tag in tags.of_artifact(db, version)),
            f"{version.file_count:,}",
            size(version.size),
            run_link_of(db, version.run_id),
            version.created_at,
        ]

    found = memberships.versions(db, collection, window=asked.window("after"))
    headings = ["Version", "Aliases", "Tags", "#Files", "#Size", "Logged by", "Created"]
    return document(
        collection.name,
        _trail(names[:2]),
        element("p", f"{collection.kind.lower()} of type {names[-2]}", class_="dim"),
        element("p", chips(tag.name for tag in collections.tags(db, collection))),
        prose(collection.description),
        section("Versions", listing(asked, "after", headings, found, row)),
    )


def _trail(names: tuple[str, ...]) -> list[Html]:
    project = link(path(*names[:2], "artifacts"), "/".join(names[:2]))
    return [project, link(path(*names), names[-1])] if names[2:] else [project]


def version_page(asked: Asked) -> Response:
    """One version: what it is, its lineage, its files."""
    db = asked.db
    collection, names = _collection(asked)
    membership = memberships.find(db, collection, asked.parts[5])
    if membership is None:
        raise SandboxError("no such version")
    version, index = versions.get(db, membership.artifact_id), membership.version_index
    count = overview.references(db, version)
    near = (
        _version(other, names)
        for other in (index - 1, index + 1)
        if memberships.find(db, collection, f"v{other}") is not None
    )
    about = facts(
        [
            ("Aliases", chips(alias.alias for alias in memberships.aliases(db, membership))),
            ("Tags", chips(tag.name for tag in tags.of_artifact(db, version))),
            ("Files", f"{version.file_count:,}"),
            ("References", f"{count:,}"),
            ("Size", f"{size(version.size)} ({version.size:,} bytes)"),
            ("Digest", element("code", version.digest)),
            ("Created", f"{version.created_at} by {entities.user(db, version.user_id).name}"),
            ("In collections", join(version_links(db, version), ", ")),
            ("Neighbours", join(near, " · ")),
        ]
    )
    return document(
        f"{collection.name}:v{index}",
        _trail(names),
        prose(version.description),
        about,
        section("Logged by", _runs(asked, "loggers", _loggers(asked, version))),
        section(
            "Used by", _runs(asked, "users", overview.users(db, version, asked.window("users")))
        ),
        section("Metadata", document_of(version.metadata)),
        section(
            "Files",
            listing(
                asked,
                "files",
                ["Path", "#Size", "Digest", "Reference"],
                manifests.entries(db, membership, [], asked.window("files")),
                _entry,
            ),
        ),
    )


def _loggers(asked: Asked, version: Artifact) -> Connection[Run]:
    return overview.loggers(asked.db, version, asked.window("loggers"))


def _entry(entry: Entry) -> _Row:
    where: Node = "" if entry.ref is None else reference(entry.ref)
    return [element("code", entry.path), size(entry.size), element("code", entry.digest), where]


def _config(text: str) -> str:
    """A run's configuration without what the client notes for itself; text that is none as it stands."""
    try:
        found = json.loads(text)
        return json.dumps(
            {
                name: item["value"] if isinstance(item, dict) and "value" in item else item
                for name, item in found.items()
                if name != "_wandb"
            }
        )
    except (ValueError, RecursionError, AttributeError):
        return text


def run_page(asked: Asked) -> Response:
    """One run: its state, what went in and came out, its config and summary."""
    db = asked.db
    owner, name, _, run_name = asked.parts
    run = runs.require(db, projects.require(db, owner, name), run_name)

    def row(version: Artifact) -> _Row:
        return [version_link(db, version), f"{version.file_count:,}", size(version.size)]

    headings = ["Version", "#Files", "#Size"]
    used = lineage.inputs(db, run, asked.window("inputs"))
    logged = lineage.outputs(db, run, asked.window("outputs"))
    about: list[tuple[str, Node]] = [
        ("Id", element("code", run.name)),
        ("State", run.state),
        ("User", entities.user(db, run.user_id).name),
        ("Job type", run.job_type or ""),
        ("Group", run.group_name or ""),
        ("Tags", chips(str(tag) for tag in json.loads(run.tags))),
        ("Created", run.created_at),
        ("Last heard of", run.heartbeat_at),
    ]
    return document(
        run.display_name or run.name,
        _trail((owner, name)),
        prose(run.notes),
        facts(about),
        section("Inputs", listing(asked, "inputs", headings, used, row)),
        section("Outputs", listing(asked, "outputs", headings, logged, row)),
        section("Config", document_of(_config(run.config))),
        section("Summary", document_of(run.summary_metrics)),
    )
