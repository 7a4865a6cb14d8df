"""The two `ArtifactSource`s, each with what people do beside syncd: log, link, forbid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sandbox_graph as graph
from sandbox_client import Client

from syncd.clients.protocols import ArtifactSource, Version
from syncd.clients.wandb import WandbSource
from syncd.sandbox import Sandbox
from syncd.testing import MemoryArtifactSource

REGISTRY = "acme-org/wandb-registry-models"
_KEY = "b" * 40
_LINK = "mutation LinkArtifact($input: LinkArtifactInput!) { linkArtifact(input: $input) { versionIndex } }"
_REGISTRY = (
    "mutation UpsertModel($input: UpsertModelInput!) { upsertModel(input: $input) { inserted } }"
)


class World(Protocol):
    """A W&B with the team `team`, its project `proj`, and a registry; syncd's key is a member's."""

    source: ArtifactSource

    def log(self, name: str, content: bytes, aliases: Sequence[str] = ()) -> Version:
        """Log a version by run `maker`."""
        ...

    def link(self, version: Version, path: str, aliases: Sequence[str] = ()) -> None:
        """Link it to `entity/project/portfolio`."""
        ...

    def protect(self, project: str, alias: str) -> None:
        """Let only admins give and take an alias."""
        ...

    def close(self, project: str) -> None:
        """Let the member only read a registry."""
        ...


class MemoryWorld:
    """The double."""

    def __init__(self) -> None:
        self._memory = MemoryArtifactSource()
        self.source: ArtifactSource = self._memory
        self._run = self._memory.add_run("maker")

    def log(self, name: str, content: bytes, aliases: Sequence[str] = ()) -> Version:
        """See `World`."""
        return self._memory.log(name, {"f": content}, run=self._run, aliases=aliases)

    def link(self, version: Version, path: str, aliases: Sequence[str] = ()) -> None:
        """See `World`."""
        self._memory.link_to(version, path, aliases)

    def protect(self, project: str, alias: str) -> None:
        """See `World`."""
        self._memory.places.protected.add(f"{project}:{alias}")

    def close(self, project: str) -> None:
        """See `World`."""
        self._memory.places.read_only.add(project)


class SandboxWorld:
    """The client and a real server between which nothing is left out."""

    def __init__(self, client: Client) -> None:
        self._client = client
        for path, body in (
            ("users", {"name": "bob", "api_key": _KEY, "admin": False}),
            ("organizations", {"name": "acme", "username": "sandbox"}),
            ("organizations/acme/members", {"username": "bob", "role": "member"}),
            ("teams", {"name": "team", "organization": "acme", "username": "sandbox"}),
            (
                "teams",
                {"name": "team", "organization": "acme", "username": "bob", "role": "member"},
            ),
        ):
            client.admin(path, body)
        entity, name = REGISTRY.split("/")
        client.gql(_REGISTRY, input={"entityName": entity, "name": name})
        run = 'mutation UpsertBucket { upsertBucket(input: {entityName: "team", modelName: "proj", name: "maker"}) { inserted } }'
        client.gql(run)
        self.base_url, self.key = client.base_url, _KEY
        self._wandb = WandbSource(client.base_url, _KEY)
        self.source: ArtifactSource = self._wandb

    def close_all(self) -> None:
        """Close the connections."""
        self._wandb.close()

    def fault(self, match: str, action: str, times: int) -> None:
        """Make the server misbehave."""
        faults = [{"match": match, "action": action, "times": times}]
        self._client.admin("faults", faults)

    def log(self, name: str, content: bytes, aliases: Sequence[str] = ()) -> Version:
        """See `World`."""
        given = [{"artifactCollectionName": name, "alias": alias} for alias in aliases]
        made = graph.log(
            self._client,
            {"f": content},
            entityName="team",
            projectName="proj",
            artifactCollectionName=name,
            runName="maker",
            aliases=given,
        )
        return self.source.version(made)

    def link(self, version: Version, path: str, aliases: Sequence[str] = ()) -> None:
        """See `World`."""
        entity, project, name = path.split("/")
        given = [{"artifactCollectionName": name, "alias": alias} for alias in aliases]
        wanted = {"entityName": entity, "projectName": project, "artifactPortfolioName": name}
        self._client.gql(_LINK, input={**wanted, "artifactID": version.id, "aliases": given})

    def protect(self, project: str, alias: str) -> None:
        """See `World`."""
        self._client.admin("settings", {"protected_aliases": {project: [alias]}})

    def close(self, project: str) -> None:
        """See `World`."""
        entity, _ = project.split("/")
        assert entity == REGISTRY.split("/", maxsplit=1)[0]
        self._client.admin("organizations/acme/members", {"username": "bob", "role": "viewer"})


@contextmanager
def opened(kind: str, path: Path) -> Iterator[World]:
    """A world of one kind, empty."""
    if kind == "memory":
        yield MemoryWorld()
        return
    with (
        Sandbox(path / "data") as sandbox,
        Client(sandbox.base_url, sandbox.api_key, path) as client,
    ):
        world = SandboxWorld(client)
        yield world
        world.close_all()
