"""Versions that were born in Oxen, as far as the catalog wants to know of them: their lineage."""

from __future__ import annotations

from syncd.clients.artifacts import Version
from syncd.errors import PermanentError
from syncd.replacements import published_of
from syncd.runtime import Runtime
from syncd.stages.annotate import UNFINISHED
from syncd.versions.relatives import place_of, relatives


def keep_born(runtime: Runtime, version: Version) -> None:
    """Remember the lineage of a version that was born in Oxen; asks W&B for its run, once.

    Nothing happens for any other version, and for one that is known. A run that still runs is looked
    at once more when it has ended.

    Raises:
        TransientError: when W&B cannot be asked.
    """
    born = published_of(version.metadata, version.digest)
    if born is None:
        return
    descent = runtime.catalog.descent
    known = descent.content(place_of(version))
    if known is not None and known.commit == born.commit:
        return
    if version.run is not None:
        try:
            run = runtime.source.run(version.run)
        except PermanentError:
            pass  # deleted since, or not for this API key to see; the version tells its name
        else:
            descent.keep(run)
            if run.state in UNFINISHED:
                runtime.catalog.add_run_due(run.ref)
    descent.keep_versions(relatives([version]))
