"""GraphQL resolvers by subject, one module per file of `schema/`. They translate; the rules are in `state/`."""

from syncd.sandbox.resolvers import (
    artifacts,
    collections,
    entities,
    files,
    logging,
    projects,
    runs,
    scalars,
)

BINDABLES = [
    *artifacts.BINDABLES,
    *collections.BINDABLES,
    *entities.BINDABLES,
    *files.BINDABLES,
    *logging.BINDABLES,
    *projects.BINDABLES,
    *runs.BINDABLES,
    *scalars.BINDABLES,
]
