"""What serves a model: values."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.refs import CommitRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """That an endpoint serves a version.

    Args:
        endpoint: the endpoint's name.
        version: `entity/project/collection:vN`.
        commit: its Oxen commit.
        since: when it was deployed; ISO 8601, UTC.
        by: who deployed it.
    """

    endpoint: str
    version: str
    commit: CommitRef
    since: str
    by: str
