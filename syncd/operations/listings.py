"""Whether a listing of W&B's is to be believed, before anything is removed on its ground."""

from __future__ import annotations

import re
from collections import Counter

from syncd.catalog.catalog import State
from syncd.clients.artifacts import Version
from syncd.errors import SuspiciousListingError
from syncd.refs import RepoRef, Target
from syncd.runtime import Runtime

FEWEST = 0.5  # of what is known to be there; a listing with less is not believed
Place = tuple[str, str, str]  # entity, project, collection
Folder = tuple[RepoRef, str]  # where in Oxen the versions of a collection lie
_VERSION_BRANCH = re.compile(r"(?:(.+)/)?wandb/v[0-9]+")


def place_of(version: Version) -> Place:
    """The collection that a version was logged to."""
    return version.ref.entity, version.ref.project, version.ref.collection


def believe_catalog(runtime: Runtime, target: Target, counted: Counter[Place]) -> None:
    """Refuse a listing that has far less than the catalog knows to be there.

    A version that was replaced may be gone; what replaced it may not.
    """
    known: Counter[Place] = Counter()
    for record in runtime.catalog.records(target):
        if record.state is State.REPLACED:
            known[record.entity, record.project, record.collection] += 1
    for place, number in known.items():
        if counted[place] < number * FEWEST:
            raise SuspiciousListingError(
                f"W&B lists {counted[place]} versions of {'/'.join(place)}, and {number} were moved "
                "there"
            )


def believe_oxen(runtime: Runtime, moved: Counter[Folder]) -> None:
    """Refuse a listing that has far fewer moved versions than Oxen has branches for."""
    for (repo, folder), number in moved.items():
        branches = [_VERSION_BRANCH.fullmatch(name) for name in runtime.store.branches(repo)]
        held = sum(match is not None and (match[1] or "") == folder for match in branches)
        if number < held * FEWEST:
            raise SuspiciousListingError(
                f"W&B lists {number} moved versions of {repo}, which holds {held}"
            )
