"""`endpoint list`, `endpoint history` and `production --history` over journals of several entities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncd.catalog.catalog import Catalog
from syncd.cli import ExitCode, main
from syncd.clients.oxen_local import EmbeddedVersionStore
from syncd.promotion.journal import REPOSITORY, Journal
from syncd.refs import CommitRef, RepoRef
from syncd.versions.events import Event, Kind, Point, State


def _event(entity: str, kind: Kind, subject: str) -> Event:
    name = f"{entity}/proj/model:v1"
    commit = CommitRef(repo=RepoRef(namespace=entity, repo="proj-model"), commit="c" * 32)
    return Event(
        id=f"{entity} {subject}",
        kind=kind,
        subject=subject,
        before=None,
        after=Point(version=name, logged=name, artifact_id="one", commit=commit),
        by="ann",
        at=f"2026-{entity}",
        state=State.DONE,
    )


def test_what_lies_in_entities_that_nobody_configured_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A team's model that a configured organisation's registry shows is served and promoted, too."""
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        f'[oxen]\nurl = "{(tmp_path / "oxen").as_uri()}"\n[engine]\nstate_dir = "{state}"\n'
        '[wandb]\nprojects = ["org/proj", "second/*"]\n',
        encoding="utf-8",
    )
    store = EmbeddedVersionStore(tmp_path / "oxen")
    catalog = Catalog(f"sqlite:///{state / 'syncd.db'}")
    for entity in ("org", "second", "team"):
        mirror = catalog.mirror if entity == "team" else None
        journal = Journal(store, RepoRef(namespace=entity, repo=REPOSITORY), mirror)
        journal.append(_event(entity, Kind.DEPLOY, f"at-{entity}"))
        journal.append(_event(entity, Kind.PROMOTE, f"{entity}/proj/model:production"))
    catalog.close()

    def told(*words: str) -> dict[str, list[dict[str, str]]]:
        capfd.readouterr()
        assert main.main([*words, "--json", "--config", str(config)]) == ExitCode.DONE
        found: dict[str, list[dict[str, str]]] = json.loads(capfd.readouterr().out)
        return found

    served = told("endpoint", "list")["endpoints"]
    assert {item["endpoint"] for item in served} == {"at-org", "at-second", "at-team"}
    [deployed] = told("endpoint", "history", "at-team")["history"]
    assert deployed["subject"] == "at-team"
    promoted = {item["subject"] for item in told("production", "--history")["history"]}
    assert promoted == {f"{name}/proj/model:production" for name in ("org", "second", "team")}
