"""How long an answer about lineage takes from a catalog of 10,000 versions and 5,000 runs.

    python -m benchmarks.lineage [--versions 10000] [--runs 5000]

Fills SQLite catalogs of three shapes and asks each from nodes with little, much and everything around
them, in both directions without a limit; then the command itself, process start included. No answer may
take a second.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from syncd.catalog import schema
from syncd.catalog.catalog import Catalog
from syncd.lineage import drawings
from syncd.lineage.events import Places, events
from syncd.lineage.from_catalog import CatalogNeighbours
from syncd.lineage.graph import Graph, walk
from syncd.refs import ArtifactRef

LIMIT = 1.0  # seconds that an answer may take
ASKED = 7  # versions that are asked for, of each shape
Uses = Iterator[tuple[int, int, str]]  # version, run, role


def layered(versions: int, runs: int) -> Uses:
    """As projects are: a run uses up to three of the versions before it, and logs two."""
    chance = random.Random(8)  # noqa: S311 the same figures each time
    each = versions // runs
    for run in range(runs):
        first = run * each
        for version in chance.sample(range(first), min(first, chance.randint(1, 3))):
            yield version, run, "input"
        for version in range(first, first + each):
            yield version, run, "output"


def chained(versions: int, runs: int) -> Uses:
    """Each run goes on from what the one before it logged: as deep as it can be."""
    each = versions // runs
    for run in range(runs):
        if run:
            yield run * each - 1, run, "input"
        for version in range(run * each, (run + 1) * each):
            yield version, run, "output"


def starred(versions: int, runs: int) -> Uses:
    """All runs use one dataset, and one evaluation uses all they logged: as wide as it can be."""
    each = versions // runs
    for run in range(runs - 1):
        yield 0, run, "input"
        for version in range(run * each + 1, (run + 1) * each + 1):
            yield version, run, "output"
            yield version, runs - 1, "input"


SHAPES: dict[str, Callable[[int, int], Uses]] = {
    "layered": layered,
    "chained": chained,
    "starred": starred,
}


def fill(url: str, shape: Callable[[int, int], Uses], versions: int, runs: int) -> None:
    """Make a catalog of a shape."""
    Catalog(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(schema.relatives.insert(), [_version(n) for n in range(versions + 1)])
        connection.execute(schema.runs.insert(), [_run(n) for n in range(runs)])
        connection.execute(
            schema.uses.insert(),
            [
                {"artifact_id": f"QXJ0aWZhY3Q6{version}", "run": _run(run)["run"], "role": role}
                for version, run, role in shape(versions, runs)
            ],
        )
    engine.dispose()


def _version(number: int) -> dict[str, Any]:
    return {
        "artifact_id": f"QXJ0aWZhY3Q6{number}",
        "entity": "research",
        "project": "retrieval",
        "collection": f"collection-{number % 100}",
        "version_index": number // 100,
        "type": "model" if number % 2 else "dataset",
        "digest": f"{number:032x}",
        "created_at": "2026-01-01T00:00:00Z",
        "namespace": "research",
        "repo": f"retrieval-collection-{number % 100}",
        "commit_id": f"{number:032x}",
        "replacement_index": number // 100 + 1000,
    }


def _run(number: int) -> dict[str, Any]:
    return {
        "run": f"research/retrieval/runs/r{number:06d}",
        "name": f"brave-run-{number}",
        "state": "finished",
        "url": f"https://wandb.example/research/retrieval/runs/r{number:06d}",
        "created_at": "2026-01-01T00:00:00Z",
        "seen": True,
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def _answers(url: str, versions: int) -> Iterator[tuple[str, float, Graph]]:
    for number in range(0, versions, max(1, versions // ASKED)):
        catalog = Catalog(url)
        ref = ArtifactRef(
            entity="research",
            project="retrieval",
            collection=f"collection-{number % 100}",
            alias=f"v{number // 100}",
        )
        neighbours = CatalogNeighbours(catalog.descent)

        def answer(neighbours: CatalogNeighbours = neighbours, ref: ArtifactRef = ref) -> Graph:
            start = neighbours.find(ref)
            assert start is not None, f"{ref} was put into the catalog"
            return walk(neighbours, start)

        seconds, graph = _timed(answer)
        catalog.close()
        yield str(ref), seconds, graph


def _written(graph: Graph) -> dict[str, float]:
    places = Places(wandb="https://api.wandb.ai", oxen="https://hub.oxen.ai")
    formats: dict[str, Callable[[], Any]] = {
        "json": lambda: drawings.document(graph),
        "mermaid": lambda: list(drawings.mermaid(graph)),
        "dot": lambda: list(drawings.dot(graph)),
        "openlineage": lambda: events(graph, places),
    }
    return {name: _timed(work)[0] for name, work in formats.items()}


def _command(folder: Path, url: str, ref: str, shape: str) -> float:
    environ = {"HOME": str(folder), "SYNCD_ENGINE__DATABASE": url, "PATH": "/usr/bin:/bin"}
    words = [sys.executable, "-m", "syncd", "lineage", ref, "--format", shape]
    seconds, _ = _timed(
        lambda: subprocess.run(  # noqa: S603 our own program
            words, env=environ, cwd=folder, check=True, capture_output=True
        )
    )
    return seconds


def main() -> int:
    """Print the figures; 1 when an answer took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5_000)
    wanted = parser.parse_args()
    slowest = 0.0
    with TemporaryDirectory() as name:
        folder = Path(name)
        for title, shape in SHAPES.items():
            url = f"sqlite:///{folder}/{title}.db"
            fill(url, shape, wanted.versions, wanted.runs)
            largest: tuple[int, str, Graph] | None = None
            print(f"{title}: {wanted.versions} versions, {wanted.runs} runs")  # noqa: T201
            for ref, seconds, graph in _answers(url, wanted.versions):
                slowest = max(slowest, seconds)
                count = f"{len(graph.nodes):6} nodes {len(graph.edges):6} edges"
                print(f"  {seconds:6.3f} s  {count}  around {ref}")  # noqa: T201
                if largest is None or len(graph.nodes) > largest[0]:
                    largest = (len(graph.nodes), ref, graph)
            assert largest is not None, "every shape is asked"
            for kind, seconds in _written(largest[2]).items():
                print(f"  {seconds:6.3f} s  more to write {largest[0]} nodes as {kind}")  # noqa: T201
            for kind in ("tree", "json"):
                seconds = _command(folder, url, largest[1], kind)
                print(f"  {seconds:6.3f} s  the command, {largest[0]} nodes as {kind}")  # noqa: T201
    print(f"slowest answer: {slowest:.3f} s, allowed: {LIMIT} s")  # noqa: T201
    return 1 if slowest > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
