"""One question: who answers it, under which names, and what is said when nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from unit_world import World

from syncd.catalog.catalog import Catalog
from syncd.cli.branches import MOST
from syncd.cli.main import main
from syncd.clients.protocols import ArtifactSource, VersionStore
from syncd.config import Config
from syncd.errors import NotFoundError, PermanentError, UsageError
from syncd.operations.inquiry import Answer, Question, Teller, ask
from syncd.testing import Fault, MemoryArtifactSource


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Data, a model that was trained on it, an evaluation; moved along the path, engine and all."""
    made = World(tmp_path_factory.mktemp("world"), wandb={"projects": ["team/proj"]})
    source = made.source
    data = source.log("ds", {"data": b"payload"}, run=source.add_run("prepare"), aliases=["gold"])
    train = source.add_run("train", config={"epochs": 3})
    source.record_use(train, data)
    model = source.log("model", {"w": b"weights"}, run=train, kind="model", aliases=["production"])
    source.record_use(source.add_run("evaluate"), model)
    source.log("notes", {"tiny": b"no"})
    assert made.backfill().failures == []
    yield made
    made.catalog.close()


@dataclass
class Only:
    """Ends of which a test names those that are there."""

    config: Config
    given_catalog: Catalog | None = None
    given_source: ArtifactSource | None = None
    given_store: VersionStore | None = None

    @property
    def catalog(self) -> Catalog:
        """The catalog."""
        assert self.given_catalog is not None, "the catalog was asked"
        return self.given_catalog

    @property
    def source(self) -> ArtifactSource:
        """W&B."""
        assert self.given_source is not None, "W&B was asked"
        return self.given_source

    @property
    def store(self) -> VersionStore:
        """Oxen."""
        assert self.given_store is not None, "Oxen was asked"
        return self.given_store


def alone(world: World, teller: Teller) -> Only:
    """The ends of which only one is there."""
    config = world.runtime.config
    match teller:
        case Teller.CATALOG:
            return Only(config, given_catalog=world.catalog)
        case Teller.OXEN:
            return Only(config, given_store=world.store)
        case Teller.WANDB:
            return Only(config, given_source=world.source)


def names(answer: Answer) -> set[str]:
    """The last parts of all names."""
    return {node.name.rpartition("/")[2] for node in answer.graph.nodes.values()}


@pytest.mark.parametrize("teller", Teller)
def test_each_answers_alone(world: World, teller: Teller) -> None:
    """Which data trained the model: the others need not be there."""
    question = Question(ref="team/proj/model:v0", teller=teller, down=0)
    answer = ask(question, alone(world, teller))
    commits = {node.name: node.commit for node in answer.graph.nodes.values() if node.is_version}
    held = {
        str(record.ref): record.commit for record in world.catalog.records() if record.commit_id
    }

    assert names(answer) == {"model:v0", "train", "ds:v0", "prepare"}
    assert answer.teller is teller
    assert commits == held
    assert answer.graph.notes == []


@pytest.mark.parametrize("teller", Teller)
@pytest.mark.parametrize("ref", ["team/proj/ds:gold", "team/proj/runs/train", "commit", "branch"])
def test_each_knows_every_kind_of_name(world: World, teller: Teller, ref: str) -> None:
    """An alias in W&B, a run, a commit, a branch of Oxen."""
    [record] = [item for item in world.catalog.records() if item.collection == "ds"]
    named = {"commit": str(record.commit), "branch": "oxen://team/proj-ds@gold"}
    answer = ask(Question(ref=named.get(ref, ref), teller=teller), world.runtime)

    assert {"ds:v0", "train", "model:v0"} <= names(answer)
    assert ("evaluate" in names(answer)) == (teller is not Teller.OXEN)


def test_a_replacement_is_the_version_that_it_replaces(world: World) -> None:
    """By number, and by an alias that has moved to it."""
    answers = [
        ask(Question(ref=f"team/proj/ds:{alias}", teller=teller), world.runtime)
        for alias in ("v0", "v1", "gold")
        for teller in (Teller.CATALOG, Teller.WANDB)
    ]

    assert {answer.graph.start.name for answer in answers} == {"team/proj/ds:v0"}
    assert {answer.graph.start.replacement for answer in answers} == {"team/proj/ds:v1"}


def test_what_the_catalog_does_not_know_wandb_is_asked(world: World) -> None:
    """Unless the catalog was asked for by name; then it says who may know more."""
    run = world.source.add_run("later")
    world.source.log("later", {"data": b"new"}, run=run)
    answer = ask(Question(ref="team/proj/later:v0"), world.runtime)

    assert answer.teller is Teller.WANDB
    assert names(answer) == {"later:v0", "later"}
    with pytest.raises(NotFoundError, match="the catalog knows nothing") as caught:
        ask(Question(ref=str(run), teller=Teller.CATALOG), world.runtime)
    assert "--from wandb" in caught.value.hint


def test_what_has_nothing_to_move_is_known_to_the_catalog(world: World) -> None:
    """It was looked at."""
    answer = ask(Question(ref="team/proj/notes:v0"), alone(world, Teller.CATALOG))

    assert (names(answer), answer.graph.start.commit) == ({"notes:v0"}, None)


@pytest.mark.parametrize("teller", [None, *Teller])
@pytest.mark.parametrize(
    "ref",
    ["team/proj/none:v0", "team/proj/ds:none", "team/proj/runs/none", "oxen://team/none@main"],
)
def test_a_name_that_nobody_knows_is_told(world: World, teller: Teller | None, ref: str) -> None:
    """By whoever was asked."""
    with pytest.raises(NotFoundError, match=r"knows nothing|no such commit"):
        ask(Question(ref=ref, teller=teller), world.runtime)


def test_what_is_no_name_is_refused(world: World) -> None:
    """With what can be written."""
    with pytest.raises(UsageError, match="neither a version nor a run"):
        ask(Question(ref="team/proj"), world.runtime)


def test_an_oxen_that_lists_no_repositories_is_helped_by_the_catalog(world: World) -> None:
    """And the answer says what it rests on."""
    away = Fault(method="repositories", error=PermanentError("may not be listed"), at=1)
    world.store._call._faults = (away,)
    world.store._call.count["repositories"] = 0
    answer = ask(Question(ref="team/proj/ds:v0", teller=Teller.OXEN), world.runtime)
    world.store._call._faults = ()

    assert names(answer) == {"prepare", "ds:v0", "train", "model:v0"}
    assert any("only those that the catalog knows" in note for note in answer.graph.notes)


def test_a_run_that_was_never_read_is_told(world: World) -> None:
    """The catalog knows only its name: what it used is not known there."""
    scrape = world.source.add_run("scrape", active_at="2020-01-01T00:00:00Z")  # long ago
    raw = world.source.log("raw", {"tiny": b"no"}, run=scrape)
    join = world.source.add_run("join")
    world.source.record_use(join, raw)
    world.source.log("joined", {"data": b"joined"}, run=join)
    world.backfill()
    answer = ask(Question(ref="team/proj/joined:v0", down=0), alone(world, Teller.CATALOG))

    assert names(answer) == {"joined:v0", "join", "raw:v0", "scrape"}
    assert answer.graph.notes == ["what else was next to team/proj/runs/scrape is not known here"]


# --- the command


def command(capfd: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    """What `syncd lineage` prints."""
    config = folder / "config.toml"
    config.write_text(f'[engine]\nstate_dir = "{folder}"\n', encoding="utf-8")
    assert main(["lineage", *words, "--config", str(config)]) == 0
    return capfd.readouterr().out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The state of a project with hostile names."""
    catalog = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    source = MemoryArtifactSource()
    run = source.add_run("train")
    data = source.log("[red]ds[/red]\x1b[2J", {"data": b"payload"})
    source.record_use(run, data)
    source.log("model", {"w": b"weights"}, run=run, kind="model")
    source.log("model-card", {"w": b"card"}, run=run)
    catalog.descent.keep(source.run(run))
    catalog.close()
    return tmp_path


def test_the_tree_shows_both_directions(capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    """Names are text, whatever a terminal would make of them."""
    text = command(capfd, folder, "team/proj/runs/train")

    assert text.splitlines() == [
        "run team/proj/runs/train  name of train, finished",
        "comes from",
        "└── dataset team/proj/[red]ds[/red]\N{REPLACEMENT CHARACTER}[2J:v0",
        "led to",
        "├── dataset team/proj/model-card:v0",
        "└── model team/proj/model:v0",
    ]


def test_each_format_is_one_answer(capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    """As it is, and within one document with --json."""
    ref = "team/proj/model:v0"
    assert json.loads(command(capfd, folder, ref, "--json")) == json.loads(
        command(capfd, folder, ref, "--format", "json")
    )
    for shape in ("mermaid", "dot", "openlineage"):
        text = command(capfd, folder, ref, "--format", shape, "--up", "1", "--down", "0")
        document = json.loads(command(capfd, folder, ref, "--format", shape, "--json"))
        assert [*document] == [shape]
        assert text.count("ds[/red]") == 0
        assert "model" in text
    [line] = command(capfd, folder, ref, "--format", "openlineage").splitlines()
    assert json.loads(line)["eventType"] == "COMPLETE"


def test_a_tree_that_nobody_would_read_is_cut(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The nearest are shown, and how many more there are; JSON has all."""
    source = MemoryArtifactSource()
    catalog = Catalog(f"sqlite:///{tmp_path}/syncd.db")
    data = source.log("ds", {"data": b"payload"})
    for number in range(MOST + 50):
        run = source.add_run(f"r{number:03d}")
        source.record_use(run, data)
        catalog.descent.keep(source.run(run))
    catalog.close()
    lines = command(capfd, tmp_path, "team/proj/ds:v0").splitlines()
    document = json.loads(command(capfd, tmp_path, "team/proj/ds:v0", "--json"))

    assert len(lines) == MOST + 3
    assert lines[-1] == "└── and 50 more; --format json has all"
    assert len(document["nodes"]) == MOST + 51
