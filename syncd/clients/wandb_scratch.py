"""One W&B project and nothing beside it, for a rehearsal: asked what syncd itself never asks.

What is read through it lies in that project and bears the rehearsal's mark, and what has not been
read cannot be changed: so a rehearsal cannot reach anybody's data. The operations are the SDK's own (wandb 0.31.0:
`sdk/artifacts/_generated/operations.py`, `apis/public/runs.py`, `apis/public/api.py` and the text in
wandb-core).
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from syncd.clients import wandb_graphql as gql
from syncd.clients.artifacts import Heard, Run, Version
from syncd.clients.http import check_status, check_url, translated
from syncd.clients.wandb import WandbSource
from syncd.errors import NotFoundError, PermanentError
from syncd.manifest import Manifest, json_chunks
from syncd.refs import ArtifactRef, RunRef, Target

COMMITTED = "COMMITTED"
Json = dict[str, Any]

_PROJECT = """
query IsProjectReadOnly($entity: String!, $project: String!) {
  project(name: $project, entityName: $entity) { readOnly }
}
"""
_COLLECTIONS = """
query ProjectArtifactCollections($entity: String!, $project: String!, $cursor: String, $perPage: Int) {
  project(entityName: $entity, name: $project) {
    artifactCollections(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { __typename id name } }
    }
  }
}
"""
_RUNS = """
query Runs($project: String!, $entity: String!, $cursor: String, $perPage: Int = 50) {
  project(name: $project, entityName: $entity) {
    runs(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { id name } }
    }
  }
}
"""
_ORGANIZATIONS = """
query FetchOrgInfoFromEntity($entity: String!) {
  entity(name: $entity) { organization { name } user { organizations { name } } }
}
"""
_NUMBERS = """
query ProjectArtifacts($entity: String!, $project: String!, $type: String!, $collection: String!,
    $cursor: String, $perPage: Int = 50, $order: String) {
  project(entityName: $entity, name: $project) {
    artifactType(name: $type) { artifactCollection(name: $collection) { __typename
      artifacts(after: $cursor, first: $perPage, order: $order) {
        pageInfo { endCursor hasNextPage }
        edges { node { versionIndex } }
      }
    } }
  }
}
"""
_UPSERT_RUN = """
mutation UpsertBucket($entity: String, $project: String, $name: String) {
  upsertBucket(input: {entityName: $entity, modelName: $project, name: $name}) { bucket { id name } }
}
"""
_DELETE_ALIASES = """
mutation DeleteAliases($input: DeleteAliasesInput!) {
  result: deleteAliases(input: $input) { success }
}
"""
_DELETE_SEQUENCE = """
mutation DeleteArtifactSequence($id: ID!) {
  result: deleteArtifactSequence(input: {artifactSequenceID: $id}) { artifactCollection { state } }
}
"""
_DELETE_PORTFOLIO = """
mutation DeleteArtifactPortfolio($id: ID!) {
  result: deleteArtifactPortfolio(input: {artifactPortfolioID: $id}) { artifactCollection { state } }
}
"""
_DELETE_RUN = """
mutation DeleteRun($id: ID!) {
  deleteRun(input: {id: $id}) { clientMutationId }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A collection or a run of the project.

    Args:
        id: its GraphQL id.
        kind: `ArtifactSequence`, `ArtifactPortfolio` or `Run`.
        name: the collection's name, the run's id.
    """

    id: str
    kind: str
    name: str


class WandbScratch(WandbSource):
    """A project of a W&B server.

    Args:
        base_url: see `WandbSource`.
        api_key: see `WandbSource`.
        within: the project.
        mark: what the names of its collections and runs begin with; others do not exist.
    """

    def __init__(self, base_url: str, api_key: str, *, within: Target, mark: str) -> None:
        super().__init__(base_url, api_key)
        assert within.project is not None, "a project is named"
        self._within, self._mark = within, mark
        self._names = {"entity": within.entity, "project": within.project}

    @property
    def owner(self) -> str:
        """The entity that the project belongs to."""
        return self._within.entity

    # --- the fence

    def projects(self, entity: str) -> Iterator[str]:
        """The one project."""
        if entity == self._within.entity:
            yield self._names["project"]

    def versions(self, target: Target) -> Iterator[Version]:
        """Committed versions of a target, see `WandbSource.versions`."""
        for version in super().versions(target):
            if self._is_inside(version.ref.entity, version.ref.project, version.ref.collection):
                yield version

    def version(self, artifact_id: str) -> Version:
        """One version by its GraphQL id, as it is now."""
        found = super().version(artifact_id)
        if not self._is_inside(found.ref.entity, found.ref.project, found.ref.collection):
            raise self._outside(found.ref)
        return found

    def heard(self, entity: str, project: str) -> Iterator[Heard]:
        """The runs of a project, see `WandbSource.heard`."""
        for item in super().heard(entity, project):
            if self._is_inside(entity, project, item.run.run_id):
                yield item

    def run(self, ref: RunRef, *, all_outputs: bool = True) -> Run:
        """A run with its config, inputs and outputs."""
        if not self._is_inside(ref.entity, ref.project, ref.run_id):
            raise self._outside(ref)
        return super().run(ref, all_outputs=all_outputs)

    def _is_inside(self, entity: str, project: str, name: str) -> bool:
        here = (self._within.entity, self._within.project)
        return (entity, project) == here and name.startswith(self._mark)

    def _outside(self, ref: ArtifactRef | RunRef) -> PermanentError:
        return PermanentError(f"{ref} is outside of this rehearsal, and is left alone")

    # --- what there is

    def is_writable(self) -> bool | None:
        """Whether the API key may change the project; None when there is no such project."""
        project = self._session.query(f"look at {self._within}", _PROJECT, self._names)["project"]
        return None if project is None else not project["readOnly"]

    def contents(self) -> list[Item]:
        """Everything of the project that can hold data: portfolios, other collections, runs."""
        found = [
            Item(id=node["id"], kind=node["__typename"], name=node["name"])
            for node in self._pages(_COLLECTIONS, "artifactCollections")
        ]
        runs = [
            Item(id=node["id"], kind="Run", name=node["name"])
            for node in self._pages(_RUNS, "runs")
        ]
        return [*sorted(found, key=lambda item: item.kind), *runs]

    def organizations(self) -> list[str]:
        """The organizations that the project's owner belongs to."""
        entity = self._owned()
        if entity is None:
            return []
        own = [entity["organization"]] if entity["organization"] else []
        return [item["name"] for item in [*own, *((entity["user"] or {})["organizations"] or [])]]

    def has_owner(self) -> bool:
        """Whether W&B shows this API key the entity that the project belongs to."""
        return self._owned() is not None

    def _owned(self) -> Json | None:
        asked = {"entity": self._within.entity}
        found: Json | None = self._session.query(
            f"look at {self._within.entity}", _ORGANIZATIONS, asked
        )["entity"]
        return found

    def numbers(
        self, collection: str, kind: str, *, order: str | None = None, page: int = 50
    ) -> list[int]:
        """The versions' numbers as a listing in this order, or in none, has them."""
        names = {**self._names, "collection": collection, "type": kind, "order": order}
        nodes = self._session.pages(
            f"list {collection}",
            _NUMBERS,
            names,
            lambda data: data["project"]["artifactType"]["artifactCollection"]["artifacts"],
            page=page,
        )
        return [node["versionIndex"] for node in nodes]

    def named(self, name: str) -> Version | None:
        """The version that this name means to the server, as `collection:alias` or without one."""
        try:
            return self._by_name(self._names["entity"], self._names["project"], name)
        except NotFoundError:
            return None

    def _pages(self, query: str, connection: str) -> Iterator[Json]:
        return self._session.pages(
            f"list {connection} of {self._within}",
            query,
            self._names,
            lambda data: (data["project"] or {}).get(connection),
        )

    # --- logging, step by step

    def begin(self, draft: Version, *, distributed_id: str | None = None) -> tuple[str, str]:
        """Begin a version; its id and its state.

        Args:
            draft: what is logged; its id, number and creation do not count.
            distributed_id: what the parts of a distributed version have in common.
        """
        asked = {
            "entityName": draft.ref.entity,
            "projectName": draft.ref.project,
            "runName": draft.run.run_id if draft.run else None,
            "artifactTypeName": draft.type,
            "artifactCollectionName": draft.ref.collection,
            "digest": draft.digest,
            "digestAlgorithm": draft.digest_algorithm,
            "aliases": [],
            "tags": [{"tagName": tag} for tag in draft.tags],
            "description": draft.description,
            "metadata": json.dumps(dict(draft.metadata)),
            "distributedID": distributed_id,
            "enableDigestDeduplication": True,
        }
        what = f"log to {draft.ref.collection}"
        made = self._session.query(what, gql.CREATE_VERSION, {"input": asked})
        artifact = made["createArtifact"]["artifact"]
        return artifact["id"], artifact["state"]

    def finish(self, draft: Version, artifact_id: str, manifest: Manifest) -> None:
        """Give a begun version its manifest and commit it."""
        what = f"log to {draft.ref.collection}"
        self._logging.commit(what, draft, artifact_id, manifest, base_id=None)

    def finish_patch(
        self, draft: Version, artifact_id: str, manifest: Manifest, base_id: str
    ) -> None:
        """Give a distributed version one patch, after a base version, and commit it."""
        what = f"log a patch to {draft.ref.collection}"
        text = b"".join(json_chunks(manifest))
        digest = hashlib.md5(text, usedforsecurity=False).digest()
        asked = {
            "artifactID": artifact_id,
            "baseArtifactID": base_id,
            "name": "wandb_manifest.patch.json",
            "digest": b64encode(digest).decode(),
            "entityName": draft.ref.entity,
            "projectName": draft.ref.project,
            "runName": "",
            "manifestType": "PATCH",
            "includeUpload": True,
        }
        made = self._session.query(what, gql.CREATE_MANIFEST, asked)
        file = made["createArtifactManifest"]["artifactManifest"]["file"]
        if file["uploadUrl"] is not None:
            url = check_url(file["uploadUrl"])
            headers = dict(line.split(":", 1) for line in file["uploadHeaders"] or [])
            with translated(what, url):
                answer = self._session.http.put(url, content=text, headers=headers)
            check_status(what, answer)
        self._session.query(what, gql.COMMIT_VERSION, {"artifactID": artifact_id})

    def make_run(self, run_id: str) -> RunRef:
        """Make a run, without a process that belongs to it."""
        self._session.query("make a run", _UPSERT_RUN, {**self._names, "name": run_id})
        return RunRef(**self._names, run_id=run_id)

    # --- changes that syncd never makes

    def link_once(self, version: Version, portfolio: str) -> int:
        """Ask for a link, whatever is there already; the version's number in the portfolio."""
        asked = {
            "artifactID": version.id,
            "artifactPortfolioName": portfolio,
            "entityName": self._names["entity"],
            "projectName": self._names["project"],
            "aliases": [],
        }
        made = self._session.query(f"link {version.ref}", gql.LINK, {"input": asked})
        number: int = made["result"]["artifactMembership"]["versionIndex"]
        return number

    def take_off(self, version: Version, alias: str) -> None:
        """Take an alias off a version."""
        aliases = [self._alias(version.ref.collection, alias)]
        asked = {"artifactID": version.id, "aliases": aliases}
        self._session.query(f"take {alias} off {version.ref}", _DELETE_ALIASES, {"input": asked})

    def remove_with_aliases(self, version: Version) -> None:
        """Delete a version and the aliases it has."""
        asked = {"artifactID": version.id, "deleteAliases": True}
        self._session.query(f"delete {version.ref}", gql.DELETE_VERSION, {"input": asked})

    def refusal(self, version: Version, collection: str) -> int:
        """The HTTP status of a refusal: an alias for a version in a collection that is none."""
        asked = {"artifactID": version.id, "aliases": [self._alias(collection, "refused")]}
        what = "ask for what cannot be"
        return self._session.send(what, gql.ADD_ALIASES, {"input": asked}).status_code

    def _alias(self, collection: str, alias: str) -> Json:
        return {
            "entityName": self._names["entity"],
            "projectName": self._names["project"],
            "artifactCollectionName": collection,
            "alias": alias,
        }

    def drop(self, items: Sequence[Item]) -> Iterator[tuple[Item, PermanentError]]:
        """Delete collections, with their versions, and runs; what could not be, and why."""
        queries = {"ArtifactSequence": _DELETE_SEQUENCE, "ArtifactPortfolio": _DELETE_PORTFOLIO}
        for item in items:
            try:
                query = queries.get(item.kind, _DELETE_RUN)
                self._session.query(f"delete {item.name}", query, {"id": item.id})
            except PermanentError as error:
                yield item, error
