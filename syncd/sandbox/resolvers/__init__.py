"""GraphQL resolvers by subject, one module per file of `schema/`. They translate; the rules are in `state/`."""

from syncd.sandbox.resolvers import (
    artifacts,
    automations,
    collections,
    entities,
    files,
    logging,
    projects,
    registries,
    runs,
    scalars,
    uploads,
)

BINDABLES = [
    *artifacts.BINDABLES,
    *automations.BINDABLES,
    *collections.BINDABLES,
    *entities.BINDABLES,
    *files.BINDABLES,
    *logging.BINDABLES,
    *projects.BINDABLES,
    *registries.BINDABLES,
    *runs.BINDABLES,
    *scalars.BINDABLES,
    *uploads.BINDABLES,
]
