"""What a new configuration changes in a process that runs, and what has to wait for a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from syncd.config import Config
from syncd.config.section import Section

# What is asked for anew each time it is needed; everything else was built into open clients.
LIVE = ("wandb.projects", "select", "schedule", "reclaim", "transfer.bandwidth_limit", "log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a new configuration.

    Args:
        config: what holds from now on: the old one with what could be changed.
        applied: the keys that changed, as `section.key`.
        held: the keys that differ and need a restart.
    """

    config: Config
    applied: tuple[str, ...]
    held: tuple[str, ...]


def change(old: Config, new: Config) -> Change:
    """Take over what a running process can change."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    applied = tuple(key for key in changed if _live(key))
    limit = {"bandwidth_limit": new.transfer.bandwidth_limit}
    config = old.model_copy(
        update={
            "wandb": old.wandb.model_copy(update={"projects": new.wandb.projects}),
            "select": new.select,
            "schedule": new.schedule,
            "reclaim": new.reclaim,
            "transfer": old.transfer.model_copy(update=limit),
            "log": new.log,
        }
    )
    return Change(
        config=config, applied=applied, held=tuple(key for key in changed if not _live(key))
    )


def _live(key: str) -> bool:
    return any(key == live or key.startswith(f"{live}.") for live in LIVE)


def _leaves(section: Section, above: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{above}{name}"
        if isinstance(value, Section):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
