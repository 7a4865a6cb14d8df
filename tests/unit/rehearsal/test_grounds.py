"""A rehearsal knows its own by name, and says when data is in danger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.clients.wandb_scratch import Item
from syncd.config import Config, load
from syncd.refs import Target
from syncd.rehearsal.grounds import is_marked, new_mark, rehearsed, repository
from syncd.rehearsal.rehearse import is_safe


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A user's configuration that a rehearsal must not follow in all."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[wandb]\nprojects = ["team/*"]\n[oxen]\nurl = "file:///srv/oxen"\nnamespace = "acme"\n'
        'repo = "{project}"\npath = "{collection}"\n[select]\nmin_file_size = "1GiB"\n'
        '[select.exclude]\ntypes = ["dataset"]\n'
        '[engine]\ndatabase = "postgresql://db.example.com/syncd"\n'
    )
    return load(file, {})


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("{mark}-data", True),
        ("run-{mark}-train-history", True),
        ("{mark}", False),
        ("my-{mark}-data", False),
        ("syncd-rehearsal-data", False),
        ("syncd-rehearsal-0123456X-data", False),
        ("data", False),
    ],
)
def test_only_what_bears_the_whole_mark_is_a_rehearsals(name: str, marked: bool) -> None:
    """A name that only looks like it is somebody's."""
    item = Item(id="1", kind="ArtifactSequence", name=name.format(mark=new_mark()))

    assert is_marked(item) is marked


def test_a_rehearsal_has_the_servers_of_the_user_and_nothing_else(
    config: Config, tmp_path: Path
) -> None:
    """His state, his database and his choice of versions are not for it."""
    project = Target.parse("team/scratch")
    found = rehearsed(config, project, tmp_path / "own", "http://gateway")

    assert (found.oxen.url, found.oxen.namespace) == (config.oxen.url, "acme")
    assert (found.oxen.repo, found.oxen.path) == ("{collection}", "")
    assert found.wandb.projects == ("team/scratch",)
    assert found.engine.database == f"sqlite:///{tmp_path}/own/state/syncd.db"
    assert found.transfer.spool_dir == tmp_path / "own" / "spool"
    assert (found.select.min_file_size, "dataset" in found.select.exclude.types) == (4096, False)
    assert (found.reclaim.policy, found.reclaim.grace) == ("delete", timedelta(0))
    assert found.references.base_url == "http://gateway"
    assert str(repository(found, "team", "syncd-rehearsal-00000000-data")) == (
        "oxen://acme/syncd-rehearsal-00000000-data"
    )


@pytest.mark.parametrize(
    ("vital", "outcome", "safe"),
    [
        (True, "does not hold", False),
        (False, "does not hold", True),
        (True, "could not tell", True),
        (True, "holds", True),
    ],
)
def test_what_data_depends_on_decides(vital: bool, outcome: str, safe: bool) -> None:
    """The exit code follows."""
    item: dict[str, Any] = {"vital": vital, "outcome": outcome}

    assert is_safe({"assumptions": [item]}) is safe
