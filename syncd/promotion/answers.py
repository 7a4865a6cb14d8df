"""What is said about an alias or an endpoint: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syncd.refs import CommitRef
from syncd.versions.deployments import Served


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something is not as it should be, and what to do about it."""

    problem: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Something a model was made from.

    Args:
        artifact: the version's name, as it was logged; empty where W&B has none of that commit.
        type: its artifact type.
        commit: its Oxen commit; None when it is not in Oxen.
    """

    artifact: str
    type: str
    commit: CommitRef | None

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "artifact": self.artifact,
            "type": self.type,
            "commit": str(self.commit) if self.commit else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an alias of a collection stands at.

    Args:
        subject: `entity/project/collection:alias`.
        version: as it was logged.
        reference: the W&B version that has the alias; empty where only Oxen was asked.
        commit: its Oxen commit; None when it is not in Oxen.
        since: when it was promoted, ISO 8601 in UTC; None when the journal does not know.
        by: who did.
        run: the run that logged it; None when nobody did.
        data: what the run used.
        endpoints: what serves it.
        problems: what is not as it should be.
    """

    subject: str
    version: str
    reference: str
    commit: CommitRef | None
    since: str | None = None
    by: str | None = None
    run: str | None = None
    data: tuple[Data, ...] = ()
    endpoints: tuple[Served, ...] = ()
    problems: tuple[Problem, ...] = ()

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "alias": self.subject,
            "version": self.version,
            "reference": self.reference,
            "commit": str(self.commit) if self.commit else None,
            "since": self.since,
            "by": self.by,
            "run": self.run,
            "data": [item.document() for item in self.data],
            "endpoints": [item.document() for item in self.endpoints],
            "problems": [{"problem": i.problem, "hint": i.hint} for i in self.problems],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What an endpoint serves, and what that was trained on."""

    served: Served
    run: str | None
    data: tuple[Data, ...]

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        data = [item.document() for item in self.data]
        return {**self.served.document(), "run": self.run, "data": data}
