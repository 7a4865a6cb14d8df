"""The version a mutation names, and whether the asker may change it."""

from __future__ import annotations

from syncd.sandbox import access, ids
from syncd.sandbox.context import Info, context, database
from syncd.sandbox.state import versions
from syncd.sandbox.state.records import Artifact


def artifact_of(info: Info, value: str) -> Artifact:
    """A living version by its global id."""
    context(info).user()
    return versions.living(database(info), ids.decode(value, "Artifact"))


def own_of(info: Info, value: str) -> Artifact:
    """A version the asker may change."""
    found = artifact_of(info, value)
    access.require_owner(database(info), context(info).user(), found)
    return found
