"""Reload: which keys a running process takes over, and which it names."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.config import Config
from syncd.service.reload import change

OLD: dict[str, Any] = {"wandb": {"projects": ["e/p"]}, "oxen": {"url": "http://localhost:3000"}}


def made(**sections: dict[str, Any]) -> Config:
    """A configuration with some keys otherwise."""
    merged = {name: {**OLD.get(name, {}), **sections.get(name, {})} for name in OLD | sections}
    return Config.model_validate(merged)


@pytest.mark.parametrize(
    ("section", "keys", "name"),
    [
        ("wandb", {"projects": ["e/p", "e/q"]}, "wandb.projects"),
        ("select", {"min_file_size": "2MiB"}, "select.min_file_size"),
        ("select", {"exclude": {"tags": ["x"]}}, "select.exclude.tags"),
        ("schedule", {"poll": "1m"}, "schedule.poll"),
        ("reclaim", {"policy": "ttl"}, "reclaim.policy"),
        ("transfer", {"bandwidth_limit": "5MiB"}, "transfer.bandwidth_limit"),
        ("log", {"level": "debug"}, "log.level"),
    ],
)
def test_what_is_asked_for_anew_is_taken_over(
    section: str, keys: dict[str, Any], name: str
) -> None:
    """From the next poll, transfer or line on."""
    new = made(**{section: keys})
    found = change(made(), new)

    assert name in found.applied
    assert found.held == ()
    assert found.config == new


@pytest.mark.parametrize(
    ("section", "keys", "name"),
    [
        ("wandb", {"base_url": "https://w.example.org"}, "wandb.base_url"),
        ("oxen", {"namespace": "other"}, "oxen.namespace"),
        ("transfer", {"concurrency": 3}, "transfer.concurrency"),
        ("engine", {"state_dir": "/somewhere"}, "engine.state_dir"),
        ("web", {"bind": "127.0.0.1:1"}, "web.bind"),
        ("references", {"base_url": "https://d.example.org"}, "references.base_url"),
    ],
)
def test_what_was_built_in_stays_and_is_named(
    section: str, keys: dict[str, Any], name: str
) -> None:
    """Everything else of the new configuration is taken over all the same."""
    old = made()
    found = change(old, made(**{section: keys}, schedule={"poll": "1m"}))

    assert name in found.held
    assert found.applied == ("schedule.poll",)
    assert getattr(found.config, section) == getattr(old, section)


def test_the_same_again_changes_nothing() -> None:
    """Somebody sent the signal twice."""
    found = change(made(), made())

    assert (found.config, found.applied, found.held) == (made(), (), ())
