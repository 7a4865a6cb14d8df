"""What the pages ask of the catalog: right sums, lists a page at a time, quick at 10,000 versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from face_world import fill, made_up

from syncd.catalog.catalog import Catalog, State
from syncd.catalog.panels import PAGE, Line, Proofs
from syncd.refs import RepoRef, Target
from syncd.testing import MemoryArtifactSource
from syncd.testing.postgres_process import Postgres

COUNT = 2_000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """A catalog of many versions."""
    url = f"sqlite:///{tmp_path_factory.mktemp('panels')}/syncd.db"
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.database()
    made = Catalog(url)
    fill(made, made_up(COUNT))
    yield made
    made.close()


@pytest.fixture
def empty(database: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = Catalog(database)
    yield made
    made.close()


def test_sums_agree_with_the_rows(catalog: Catalog) -> None:
    """By project and by collection: nothing is counted twice or forgotten."""
    records = list(catalog.records())
    projects = catalog.panels.projects()
    collections = catalog.panels.collections("research", "project-1")
    own = [record for record in records if record.project == "project-1"]

    assert sum(tally.seen for tally in projects) == len(records) == COUNT
    assert all(t.seen == t.moved + t.waiting + t.skipped + t.quarantined for t in projects)
    assert sum(t.moved_bytes for t in projects) == sum(r.moved_bytes for r in records)
    assert sum(t.moved_bytes for t in collections) == sum(r.moved_bytes for r in own)
    assert sum(day.moved for day in catalog.panels.days()) == sum(r.moved_bytes for r in records)
    assert sum(catalog.panels.states().values()) == COUNT
    assert catalog.panels.failed_stages() == {
        "transfer": sum(r.state is State.QUARANTINED for r in records)
    }


def test_all_collections_of_a_target_are_summed(catalog: Catalog) -> None:
    """What travelled is told of moved versions, as what was saved is."""
    target = Target.parse("research/project-1")
    for named in (None, target):
        records = list(catalog.records(named))
        moved = [record for record in records if record.state is State.REPLACED]
        if named is not None:
            assert sum(catalog.panels.replaced(named).values()) == len(moved)
        tallies = catalog.panels.standings(named)

        assert sum(tally.seen for tally in tallies) == len(records)
        assert sum(tally.moved for tally in tallies) == len(moved)
        assert sum(tally.downloaded for tally in tallies) == sum(r.downloaded for r in moved)
        assert len({tally.name for tally in tallies}) == len(tallies)


def test_the_oldest_waiting_version_is_found(catalog: Catalog) -> None:
    """Of each project; none where nothing waits."""
    by_name = {tally.name: tally for tally in catalog.panels.projects()}
    waits = [
        record.created_at
        for record in catalog.records()
        if record.project == "project-0" and record.state is State.WAITING
    ]

    assert by_name["research/project-0"].waiting_since == min(waits)
    assert by_name["research/project-1"].waiting_since == ""


def test_lists_come_a_page_at_a_time(catalog: Catalog) -> None:
    """In order, complete, and each says whether there is more."""
    panels = catalog.panels
    seen: list[Line] = []
    page = 0
    while lines := panels.failures(page=page, limit=7):
        seen += lines[:7]
        page += 1
    newest = panels.versions("research", "project-1", "model-1")

    assert [line.artifact_id for line in seen] == [
        item.record.artifact_id
        for item in sorted(
            catalog.quarantined(), key=lambda item: item.record.updated_at, reverse=True
        )
    ]
    assert [line.version_index for line in newest] == list(range(COUNT // 80 - 1, -1, -1))
    assert panels.failures(page=100) == []


def test_a_full_page_tells_that_there_is_more(empty: Catalog) -> None:
    """By one row that is not shown."""
    rows = [{**row, "collection": "one", "version_index": n} for n, row in enumerate(made_up(120))]
    fill(empty, [{**row, "project": "p"} for row in rows])
    pages = [empty.panels.versions("research", "p", "one", page=page) for page in range(3)]

    assert [len(page) for page in pages] == [PAGE + 1, PAGE + 1, 20]


def test_search_takes_signs_of_sql_for_what_they_are(empty: Catalog) -> None:
    """`%` and `_` stand for themselves, names are found in any case, commits by their beginning."""
    names = ["plain", "100%", "under_score", "back\\slash", "Mixed-Case"]
    rows = made_up(len(names) + 50)[50:]  # the first row of each fifty waits
    fill(empty, [{**row, "collection": name} for row, name in zip(rows, names, strict=False)])

    def found(text: str) -> list[str]:
        return [name.rpartition("/")[2] for name in empty.panels.search(text)[0]]

    assert found("%") == ["100%"]
    assert found("_") == ["under_score"]
    assert found("\\") == ["back\\slash"]
    assert found("mixed-c") == ["Mixed-Case"]
    assert len(found("research/")) == len(names)
    commit = next(row["commit_id"] for row in rows if row["commit_id"])
    assert [line.commit_id for line in empty.panels.search(commit)[1]] == [commit]
    assert empty.panels.search("' OR 1=1 --") == ([], ())


def test_proofs_and_freed_bytes_are_summed(empty: Catalog) -> None:
    """And are nothing at first."""
    repo = RepoRef(namespace="a", repo="b")

    assert empty.panels.proofs() == Proofs(good=0, bad=0, last_at="")
    assert (empty.panels.freed(), empty.panels.days()) == (0, [])
    empty.mark_read_back(repo, ["1", "2"], good=True)
    empty.mark_read_back(repo, ["2"], good=False)
    empty.reclaimed("A", 5)
    empty.reclaimed("B", 7)
    proofs = empty.panels.proofs()

    assert (proofs.good, proofs.bad, proofs.last_at != "") == (1, 1, True)
    assert empty.panels.freed() == 12
    assert [day.freed for day in empty.panels.days()] == [12]


def test_what_was_freed_is_told_by_collection(empty: Catalog) -> None:
    """Where a version of it is known, within what was asked for."""
    rows = [{**row, "state": "replaced"} for row in made_up(40)]
    fill(empty, rows)
    for row in rows:
        empty.reclaimed(row["artifact_id"], 3)
    empty.reclaimed("of another catalog", 100)
    named = [f"{row['entity']}/{row['project']}/{row['collection']}" for row in rows]
    place = Target.parse("/".join(named[0].split("/")[:2]))

    assert empty.panels.freed_in(None) == {name: 3 * named.count(name) for name in named}
    assert empty.panels.freed_in(place) == {
        name: size
        for name, size in empty.panels.freed_in(None).items()
        if name.startswith(f"{place}/")
    }


def test_a_released_version_waits_with_its_history(empty: Catalog) -> None:
    """Its first failure stays known; whoever is not in quarantine stays where it is."""
    source = MemoryArtifactSource()
    bad, good = (source.log("ds", {"a": bytes([number])}) for number in range(2))
    empty.fail(bad, stage="transfer", reason="damaged", hint="log it again")
    empty.note(good, State.REPLACED)
    [line] = empty.panels.failures()

    assert [empty.release(bad.id), empty.release(bad.id), empty.release(good.id)] == [
        True,
        False,
        False,
    ]
    found, other = empty.get(bad.id), empty.get(good.id)
    assert found is not None
    assert other is not None
    assert (found.state, found.reason, found.hint) == (State.WAITING, "", "")
    assert other.state is State.REPLACED
    empty.fail(bad, stage="commit", reason="again", hint="ask")
    [again] = empty.panels.failures()
    assert replace(again, since="") != replace(line, since="")
    assert again.since == line.since


def test_our_own_versions_are_known_by_their_id(catalog: Catalog) -> None:
    """Of many at a time."""
    own = [record.replacement_id for record in catalog.records() if record.replacement_id]

    assert catalog.panels.replacements([*own[:700], "another"]) == set(own[:700])
    assert catalog.panels.replacements([]) == set()
