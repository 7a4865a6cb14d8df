"""A graph as OpenLineage events, as catalogs such as Marquez and DataHub take them.

One event a run, with the datasets it read and wrote. A version that is in Oxen is a dataset of its
repository, at the version that its commit names; its W&B name is a symlink. Names follow OpenLineage's
naming: the namespace says where a thing lies, the name what it is called there. The only room that
knows the openlineage client.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from openlineage.client import event_v2 as ol
from openlineage.client import facet_v2 as facets
from openlineage.client.serde import Serde

from syncd.clients.artifacts import utc
from syncd.lineage.graph import Graph, Kind, Node
from syncd.refs import ArtifactRef, RunRef

PRODUCER = "urn:syncd"
UNKNOWN_TIME = "1970-01-01T00:00:00+00:00"  # of a run of which only the name is known
_JOBS = {Kind.ENDPOINT: "endpoints", Kind.FINE_TUNE: "fine-tunes"}  # their namespaces
_STATES = {
    "finished": ol.RunState.COMPLETE,
    "": ol.RunState.COMPLETE,  # whoever was asked knows that it logged something, and no more
    "failed": ol.RunState.FAIL,
    "crashed": ol.RunState.FAIL,
    "killed": ol.RunState.ABORT,
    "preempted": ol.RunState.ABORT,
    "running": ol.RunState.RUNNING,
    "pending": ol.RunState.START,
}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things lie.

    Args:
        wandb: the URL of W&B.
        oxen: the URL of the Oxen server, or of a folder (`file://`).
        folder: where in its repository a version of a type lies, empty for all of it.
    """

    wandb: str
    oxen: str
    folder: Callable[[ArtifactRef, str], str] = lambda _ref, _type: ""


def events(graph: Graph, places: Places) -> list[Json]:
    """The events of a graph, in the order of its nodes.

    Args:
        graph: the graph.
        places: where things lie.
    """
    return [Serde.to_dict(event) for event in _Events(graph, places).all()]


class _Events:
    """The events of one graph."""

    def __init__(self, graph: Graph, places: Places) -> None:
        self._graph, self._places = graph, places
        self._wandb = f"wandb://{urlsplit(places.wandb).netloc}"
        self._before: dict[str, list[Node]] = {}
        self._after: dict[str, list[Node]] = {}
        for edge in graph.edges:
            self._before.setdefault(edge.target, []).append(graph.nodes[edge.source])
            self._after.setdefault(edge.source, []).append(graph.nodes[edge.target])

    def all(self) -> Iterator[ol.RunEvent | ol.JobEvent]:
        """One event a run, and one an endpoint or a fine-tune: that is a job which reads a version."""
        for node in self._graph.nodes.values():
            if node.kind is Kind.RUN:
                yield self._run(node)
            elif node.kind in _JOBS:
                yield ol.JobEvent(
                    eventTime=_time(node.created_at),
                    producer=PRODUCER,
                    job=ol.Job(namespace=_JOBS[node.kind], name=node.name),
                    inputs=self._inputs(node),
                )

    def _run(self, node: Node) -> ol.RunEvent:
        ref = RunRef.parse(node.name)
        after = self._after.get(node.key, ())
        made = [other.created_at for other in after if other.created_at]
        return ol.RunEvent(
            eventTime=_time(node.created_at or min(made, default="")),
            producer=PRODUCER,
            eventType=_STATES.get(node.state, ol.RunState.OTHER),
            run=ol.Run(
                # OpenLineage wants a UUID: the same run has the same one whoever tells of it.
                runId=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._wandb}/{node.name}")),
                facets={
                    "externalQuery": facets.external_query_run.ExternalQueryRunFacet(
                        externalQueryId=node.name, source=self._wandb, producer=PRODUCER
                    )
                },
            ),
            job=ol.Job(namespace=self._wandb, name=f"{ref.entity}/{ref.project}"),
            inputs=self._inputs(node),
            outputs=[
                ol.OutputDataset(namespace=namespace, name=name, facets=self._facets(other))
                for other in after
                for namespace, name in [self._named(other)]
            ],
        )

    def _inputs(self, node: Node) -> list[ol.InputDataset]:
        return [
            ol.InputDataset(namespace=namespace, name=name, facets=self._facets(other))
            for other in self._before.get(node.key, ())
            for namespace, name in [self._named(other)]
        ]

    def _named(self, node: Node) -> tuple[str, str]:
        """A dataset's namespace and name: where its bytes are."""
        if node.commit is None:
            return self._wandb, node.name.rpartition(":")[0]
        repo = node.commit.repo
        own = [repo.namespace, repo.repo]
        if node.name != str(node.commit):
            own += [self._places.folder(ArtifactRef.parse(node.name), node.type)]
        path = "/".join(part for part in own if part)
        parts = urlsplit(self._places.oxen)
        if parts.scheme == "file":
            return "file", f"{parts.path.rstrip('/')}/{path}"
        return f"oxen://{parts.netloc}", path

    def _facets(self, node: Node) -> dict[str, Any]:
        version = node.commit.commit if node.commit else node.name.rpartition(":")[2]
        found: dict[str, Any] = {
            "version": facets.dataset_version_dataset.DatasetVersionDatasetFacet(
                datasetVersion=version, producer=PRODUCER
            )
        }
        if node.commit is not None and node.name != str(node.commit):
            found["symlinks"] = facets.symlinks_dataset.SymlinksDatasetFacet(
                identifiers=[
                    facets.symlinks_dataset.Identifier(
                        namespace=self._wandb,
                        name=node.name.rpartition(":")[0],
                        type=node.type or Kind.ARTIFACT.value,
                    )
                ],
                producer=PRODUCER,
            )
        return found


def _time(text: str) -> str:
    """A time as OpenLineage wants it, also where W&B says it without its zone."""
    try:
        return utc(text).isoformat()
    except ValueError:
        return UNKNOWN_TIME
