"""A second chance for a version in quarantine, asked for on a page.

The page's process moves nothing. It lets the version out of quarantine, forgets that there is
nothing left to do in its collection, and wakes the mover with a hint: it then goes along the whole
path like any version that waits. `quarantine.retry` is the same for whoever holds the mover's lock.
"""

from __future__ import annotations

from syncd import log
from syncd.catalog.catalog import Catalog, Record
from syncd.web.answers import RefusedError


def release(catalog: Catalog, artifact_id: str, *, at: float) -> Record:
    """Let a version wait for its turn again; the version.

    Args:
        catalog: where it stands.
        artifact_id: GraphQL id.
        at: Unix seconds.

    Raises:
        RefusedError: when nothing is known of it.
    """
    record = catalog.get(artifact_id)
    if record is None:
        raise RefusedError(404, "no such version", "It may have gone from W&B; look at the list.")
    if catalog.release(artifact_id):
        log.get().info(log.Life.QUARANTINE_RELEASED, artifact=str(record.ref))
    # Asked again, it is no other: a kill between the two steps is mended by a second click.
    catalog.looks.wake((record.entity, record.project, record.collection))
    catalog.pulse.hint(f"{record.entity}/{record.project}", record.collection, at=at)
    return record
