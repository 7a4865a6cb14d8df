"""Whether a listing of W&B's is to be believed, before anything is removed on its ground."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from syncd.catalog.catalog import State
from syncd.errors import NotFoundError, SuspiciousListingError
from syncd.refs import CollectionName, RepoRef, Target
from syncd.runtime import Runtime

FEWEST = 0.5  # of what is known to be there; a listing with less is not believed
Folder = tuple[RepoRef, str]  # where in Oxen the versions of a collection lie
_VERSION_BRANCH = re.compile(r"(?:(.+)/)?wandb/v[0-9]+")


def believe_catalog(runtime: Runtime, target: Target, counted: Counter[CollectionName]) -> None:
    """Refuse a listing that has far less than the catalog knows to be there.

    A version that was replaced may be gone; what replaced it may not, unless W&B says of it by its id
    that somebody deleted it, that its time was over, or that its collection has another name now.

    Raises:
        SuspiciousListingError: when W&B has something that it does not list.
    """
    for place, known in runtime.catalog.panels.replaced(target).items():
        missing = math.ceil(known * FEWEST) - counted[place]
        if missing > 0 and missing > sum(islice(_accounted(runtime, place), missing)):
            raise SuspiciousListingError(
                f"W&B lists {counted[place]} versions of {'/'.join(place)}, and {known} were "
                "moved there"
            )


def _accounted(runtime: Runtime, place: CollectionName) -> Iterator[int]:
    """A 1 for each version whose replacement is not listed for a good reason, until one is for none."""
    entity, project, collection = place
    here = Target(entity=entity, project=project, collection=collection)
    try:
        listed = {version.id for version in runtime.source.versions(here)}
    except NotFoundError:
        listed = set()
    for record in runtime.catalog.records(here):
        if record.state is not State.REPLACED or record.replacement_id in listed:
            continue
        try:
            if runtime.source.version(record.replacement_id).ref.place == place:
                return
        except NotFoundError:
            pass
        yield 1


def doubts(runtime: Runtime, moved: Counter[Folder]) -> dict[Folder, str]:
    """Where a listing has far fewer moved versions than Oxen has branches for, and what to do there.

    Oxen keeps the branches of versions that W&B has no more, and does not know why it has not.
    """
    found: dict[Folder, str] = {}
    for (repo, folder), number in moved.items():
        branches = [_VERSION_BRANCH.fullmatch(name) for name in runtime.store.branches(repo)]
        held = sum(match is not None and (match[1] or "") == folder for match in branches)
        if number < held * FEWEST:
            found[repo, folder] = (
                f"W&B lists {number} moved versions of {repo}, which has branches of {held}; where "
                "the others were deleted in W&B on purpose, delete their branches wandb/vN"
            )
    return found
