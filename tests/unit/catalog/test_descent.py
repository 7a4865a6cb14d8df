"""Descent: what was read of runs is kept, each version once, and found again in few statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from moved_project import MovedProject

from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Run, Version
from syncd.lineage.from_catalog import FEW, CatalogNeighbours
from syncd.lineage.graph import Graph, walk
from syncd.refs import ArtifactRef, CommitRef, RunRef, Target
from syncd.replacements import Logged, Restored, Returned, restored_into
from syncd.versions.relatives import place_of, relatives


@pytest.fixture
def catalog(database: str) -> Iterator[Catalog]:
    """An empty catalog, on either kind of database."""
    made = Catalog(database)
    yield made
    made.close()


def version(index: int, name: str = "ds", **values: Any) -> Version:
    """A version with an id and a digest of its own."""
    ref = ArtifactRef(entity="team", project="proj", collection=name, alias=f"v{index}")
    return Version(
        **{
            "id": f"id of {ref}",
            "ref": ref,
            "type": "dataset",
            "digest": f"digest of {ref}",
            "size": 1,
            "file_count": 1,
            "created_at": "2026-01-01T00:00:00Z",
            **values,
        }
    )


def run(
    number: int, inputs: Sequence[Version] = (), outputs: Sequence[Version] = (), **values: Any
) -> Run:
    """A run."""
    ref = RunRef(entity="team", project="proj", run_id=f"r{number}")
    return Run(
        **{
            "id": f"id of {ref}",
            "ref": ref,
            "name": f"run {number}",
            "state": "finished",
            "url": "",
            "config": {},
            "inputs": tuple(inputs),
            "outputs": tuple(outputs),
            **values,
        }
    )


def around(catalog: Catalog, name: str) -> Graph:
    """All that is known to lie around a version."""
    neighbours = CatalogNeighbours(catalog.descent)
    start = neighbours.find(ArtifactRef.parse(name))
    assert start is not None, name
    return walk(neighbours, start)


def edges(graph: Graph) -> set[tuple[str, str]]:
    """Between the last parts of names."""
    names = {key: node.name.rpartition("/")[2] for key, node in graph.nodes.items()}
    return {(names[edge.source], names[edge.target]) for edge in graph.edges}


@contextmanager
def counted(catalog: Catalog) -> Iterator[list[str]]:
    """The statements that are sent in the block."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = catalog._database._engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def test_statements_follow_the_depth_of_an_answer_and_not_its_width(catalog: Catalog) -> None:
    """A dataset of which three hundred models were made asks no more often than one of which two were."""
    sent: dict[int, int] = {}
    for width in (2, 300):
        data = version(0, f"data-{width}")
        for number in range(width):
            made = version(number, f"model-{width}", type="model")
            catalog.descent.keep(run(1000 * width + number, [data], [made]))
        with counted(catalog) as statements:
            graph = around(catalog, str(data.ref))
        assert len(graph.nodes) == 1 + 2 * width
        sent[width] = len(statements)

    assert sent[2] == sent[300]


@pytest.mark.parametrize("width", [30, 120])
def test_whoever_draws_a_few_reads_a_few(
    width: int, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a dataset that everybody uses: the first ones by name, and that there are more."""
    data = version(0, "data")
    for number in range(width):
        made = version(number, "model", type="model")
        catalog.descent.keep(run(1000 + number, [data], [made]))
    read = 0
    tuples = catalog._database.tuples

    def counted_tuples(query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        nonlocal read
        found = tuples(query)
        read += len(found)
        return found

    neighbours = CatalogNeighbours(catalog.descent, most=10)
    start = neighbours.find(data.ref)
    assert start is not None
    monkeypatch.setattr(catalog._database, "tuples", counted_tuples)
    graph = walk(neighbours, start, down=2, most=4)

    assert graph.is_cut
    assert [node.name[-5:] for node in graph.nodes.values()][1:] == [
        "r1000",
        "r1001",
        "r1002",
        "r1003",
    ]
    assert read <= 40


def test_a_long_chain_is_no_long_journey(catalog: Catalog) -> None:
    """Beyond some steps the database goes the rest of the way by itself, in both directions."""
    sent: dict[int, int] = {}
    for length in (FEW, 10 * FEW):
        name = f"chain-{length}"
        for number in range(length):
            inputs = [version(number, name)] if number else []
            catalog.descent.keep(run(1000 * length + number, inputs, [version(number + 1, name)]))
        for index in (1, length):
            with counted(catalog) as statements:
                graph = around(catalog, f"team/proj/{name}:v{index}")
            assert len(graph.nodes) == 2 * length
            assert max([*graph.above.values(), *graph.below.values()]) == 2 * length - 1 - (
                index == 1
            )
            sent[length] = max(sent.get(length, 0), len(statements))

    assert sent[10 * FEW] <= sent[FEW] + 10


def test_what_syncd_never_moved_is_known_too(catalog: Catalog) -> None:
    """By its name and type; the run that logged it by its name alone, which is said."""
    raw = version(0, "raw", type="raw-data", run=RunRef.parse("team/proj/runs/scrape"))
    catalog.descent.keep(run(1, [raw], [version(0)]))
    graph = around(catalog, "team/proj/ds:v0")
    nodes = {node.name: node for node in graph.nodes.values()}

    assert edges(graph) == {("scrape", "raw:v0"), ("raw:v0", "r1"), ("r1", "ds:v0")}
    assert (nodes["team/proj/raw:v0"].type, nodes["team/proj/raw:v0"].commit) == ("raw-data", None)
    assert graph.notes == ["what else was next to team/proj/runs/scrape is not known here"]


def test_a_run_that_was_read_stays_read(catalog: Catalog) -> None:
    """Whatever names it later; and its state is the last that was seen."""
    own = RunRef.parse("team/proj/runs/r1")
    catalog.descent.keep(run(1, outputs=[version(0)], state="running"))
    catalog.descent.keep(run(1, outputs=[version(0)]))
    catalog.descent.keep_versions(relatives([version(0, run=own)]))
    [found] = catalog.descent.runs([str(own)])

    assert (found.seen, found.state, found.label) == (True, "finished", "run 1")


def test_a_version_what_replaces_it_and_what_was_restored_are_one(moved: MovedProject) -> None:
    """From the first look to the last, whichever of them W&B still has, and when it moves again."""
    source, descent = moved.source, moved.catalog.descent
    train = source.add_run("train")
    old = source.log("ds", {"data": b"payload"}, run=source.add_run("prepare"))
    source.record_use(train, old)
    wanted = {("prepare", "ds:v0"), ("ds:v0", "train")}
    descent.keep(source.run(train))
    graphs = [around(moved.catalog, "team/proj/ds:v0")]

    made = moved.move(old)
    descent.keep(source.run(train))
    graphs.append(around(moved.catalog, str(made.ref)))  # by its replacement's name

    source.remove(source.version(old.id))
    descent.keep(source.run(train))
    moved.restore()
    descent.keep(source.run(train))
    [back] = source.versions(Target.parse("team/proj/ds:v2"))
    graphs.append(around(moved.catalog, "team/proj/ds:v0"))

    moved.move(back)
    descent.keep(source.run(train))
    graphs.append(around(moved.catalog, "team/proj/ds:v0"))

    assert all(edges(graph) == wanted for graph in graphs)
    present = [str(made.ref), str(back.ref), str(made.ref)]
    assert [graph.start.replacement for graph in graphs[1:]] == present
    assert graphs[-1].start.commit == moved.link(made).commit


def test_what_was_made_again_from_its_commit_alone_goes_on_under_its_name(catalog: Catalog) -> None:
    """W&B has neither the old version nor a replacement then; the digest tells."""
    old = version(0)
    catalog.descent.keep(run(1, [old], [version(0, "model")]))
    logged = Logged(version=str(old.ref), artifact_id=old.id, created_at=old.created_at)
    of = Returned(commit=CommitRef.parse("oxen://team/proj-ds@abc123"), logged=logged)
    mark = restored_into({}, Restored(at="2026-02-01"), old.digest, of)
    back = version(5, digest=old.digest, metadata=mark)
    catalog.descent.keep(run(2, [back], [version(1, "model")]))

    assert edges(around(catalog, "team/proj/ds:v0")) == {
        ("ds:v0", "r1"),
        ("r1", "model:v0"),
        ("ds:v0", "r2"),
        ("r2", "model:v1"),
    }


def test_a_commit_that_a_config_names_becomes_the_version_that_stands_for_it(
    catalog: Catalog, moved: MovedProject
) -> None:
    """A script that read from Oxen has W&B not know what it used: its config does."""
    source = moved.source
    old = source.log("ds", {"data": b"payload"})
    made = moved.move(old)
    commit = moved.link(made).commit
    config = {
        "dataset_commit": commit.commit,
        "oxen": {"inputs": {"oxen://x/y": str(commit)}, "outputs": {}},
    }
    catalog.descent.keep(run(1, outputs=[version(0, "model")], config=config))
    before = around(catalog, "team/proj/model:v0")
    catalog.descent.keep_versions(relatives([old, made]))
    after = around(catalog, "team/proj/model:v0")
    catalog.descent.keep(run(2, outputs=[version(1, "model")], config=config))

    [nameless] = [node for node in before.nodes.values() if node.commit]
    assert (nameless.name, nameless.kind.value) == (str(commit), "dataset")
    assert edges(after) == {("ds:v0", "r1"), ("r1", "model:v0")}
    assert ("ds:v0", "r2") in edges(around(catalog, "team/proj/ds:v0"))


def test_hostile_names_are_names(catalog: Catalog) -> None:
    """Also those that a database has a meaning for."""
    strange = "a%_'\"; drop table x; \\ \N{SNOWMAN}"
    made = version(0, strange, type=strange)
    catalog.descent.keep(run(1, [made], [version(0)], name=f"{strange}\0", url=strange))

    assert edges(around(catalog, f"team/proj/{strange}:v0")) == {
        (f"{strange}:v0", "r1"),
        ("r1", "ds:v0"),
    }


def test_a_version_that_leaves_wandb_leaves_its_lineage(catalog: Catalog) -> None:
    """Only a rebuild of everything begins with nothing."""
    old = version(0)
    catalog.descent.keep(run(1, [old], [version(0, "model")]))
    catalog.forget(old.id)
    catalog.clear(Target.parse("team/proj"))
    still = around(catalog, "team/proj/ds:v0")
    catalog.clear(None)

    assert len(still.nodes) == 3
    assert catalog.descent.version(old.ref) is None


def test_repositories_are_those_that_hold_a_version(catalog: Catalog, moved: MovedProject) -> None:
    """For an Oxen that does not tell."""
    old = moved.source.log("ds", {"data": b"payload"})
    catalog.descent.keep_versions(relatives([old, moved.move(old), version(0, "unmoved")]))

    assert list(map(str, catalog.descent.repositories())) == ["oxen://team/proj-ds"]


def test_the_version_of_a_digest_is_found_without_reading_its_collection(tmp_path: Path) -> None:
    """It is looked for at each replacement: a collection would be read as often as it has versions.

    Catalogs that were made before there was an index for it get one.
    """
    url = f"sqlite:///{tmp_path}/syncd.db"
    Catalog(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX syncd_relatives_by_digest")
    engine.dispose()  # which would explain by what it knew of indexes
    catalog = Catalog(url)
    catalog.descent.keep_versions(relatives([version(0)]))
    with counted(catalog) as sent:
        assert catalog.descent.content(place_of(version(0))) is not None
    catalog.close()
    with engine.connect() as connection:
        names = ("team", "proj", "ds", version(0).digest)
        told = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent[0]}", names)
        plan = [str(row[3]) for row in told]
    engine.dispose()

    assert "digest=?" in plan[0], plan
