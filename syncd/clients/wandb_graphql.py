"""The GraphQL operations syncd sends to W&B, and the fields it reads.

Each is one that wandb 0.31.0 sends itself, so that a server that serves the SDK serves syncd:
`sdk/artifacts/_generated/operations.py` (listing, manifest, file URLs, lineage, aliases, deletion),
`apis/public/runs.py` (runs, UpsertBucket by id), `sdk/artifacts/_gqlutils.py` (UseArtifact), and the
text inside `wandb-core` 0.31.0 (CreateArtifact, CreateArtifactManifest, CreateArtifactFiles,
CompleteMultipartUploadArtifact, CommitArtifact). Differences, each of fields that the SDK reads of the
same types elsewhere: `createdBy` and the manifest's URL are read beside a version's other fields, a
run's inputs, outputs and summary in one request, the times of runs beside their names, a collection's newest
versions and aliases with the collection, the versions of many aliases at a time, and a version's fields from
the answer that commits it.
"""

from __future__ import annotations

from collections.abc import Sequence

NEWEST = 5  # versions of a collection that are named beside a membership

_VERSION = """
fragment VersionFields on Artifact {
  id
  artifactSequence { name project { name entity { name } } }
  versionIndex
  artifactType { name }
  description
  metadata
  ttlDurationSeconds
  ttlIsInherited
  tags { name }
  historyStep
  state
  size
  digest
  digestAlgorithm
  fileCount
  createdAt
  aliases { alias artifactCollection { name project { name entity { name } } } }
  createdBy {
    __typename
    ... on Run { name project { name entity { name } } user { username } }
    ... on User { username }
  }
}
"""

# `FetchLinkedArtifacts`, with what the SDK asks of a collection and its project elsewhere: its id, who
# is `latest` (`ArtifactMembershipFiles`), its newest versions, whether it may be written
# (`IsProjectReadOnly`).
_COLLECTION = f"""
fragment PlaceFields on ArtifactCollection {{
  __typename
  id
  name
  project {{ name readOnly entity {{ name }} }}
  latest: artifactMembership(aliasName: "latest") {{ artifact {{ id }} }}
  newest: artifacts(first: {NEWEST}, order: "-version_index") {{ edges {{ node {{ id }} }} }}
}}
"""
_MEMBERSHIPS = (
    """
fragment Places on Artifact {
  artifactMemberships {
    edges { node { versionIndex aliases { alias } artifactCollection { ...PlaceFields } } }
  }
}
"""
    + _COLLECTION
)

PROJECTS = """
query GetProjects($entity: String, $cursor: String, $perPage: Int = 50) {
  models(entityName: $entity, after: $cursor, first: $perPage) {
    edges { node { name } }
    pageInfo { endCursor hasNextPage }
  }
}
"""

COLLECTIONS = """
query ProjectArtifactCollections($entity: String!, $project: String!, $cursor: String, $perPage: Int) {
  project(entityName: $entity, name: $project) {
    artifactCollections(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { __typename name type: defaultArtifactType { name } } }
    }
  }
}
"""

# Asked of the project, as `ArtifactMembershipFiles` does: whoever knows a name may not know the type.
COLLECTION = """
query ProjectArtifactCollection($entity: String!, $project: String!, $name: String!) {
  project(entityName: $entity, name: $project) {
    artifactCollection(name: $name) { __typename name type: defaultArtifactType { name } }
  }
}
"""

_NEWEST = """
fragment Newest on ArtifactCollection {
  __typename
  id
  name
  type: defaultArtifactType { name }
  artifacts(first: $newest, order: $order, filters: $filters) {
    edges { node { id aliases { alias } } }
  }
  aliases(first: $aliases) {
    pageInfo { hasNextPage }
    edges { node { alias } }
  }
}
"""
COLLECTIONS_WITH_NEWEST = (
    """
query ProjectArtifactCollections($entity: String!, $project: String!, $cursor: String, $perPage: Int,
    $newest: Int, $order: String, $filters: JSONString, $aliases: Int) {
  project(entityName: $entity, name: $project) {
    artifactCollections(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { ...Newest } }
    }
  }
}
"""
    + _NEWEST
)

# One of them, by its name: what a webhook names is looked at alone.
COLLECTION_WITH_NEWEST = (
    """
query ProjectArtifactCollection($entity: String!, $project: String!, $name: String!,
    $newest: Int, $order: String, $filters: JSONString, $aliases: Int) {
  project(entityName: $entity, name: $project) { artifactCollection(name: $name) { ...Newest } }
}
"""
    + _NEWEST
)

# An alias, as the SDK lists them, has a name and does not say which version it is on.
ALIASES = """
query ArtifactCollectionAliases($id: ID!, $cursor: String, $perPage: Int = 1000) {
  artifactCollection(id: $id) {
    aliases(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { alias } }
    }
  }
}
"""


def pointers(counts: Sequence[int]) -> str:
    """Ask on which versions aliases of collections are, as `ArtifactMembershipFiles` does for one.

    Args:
        counts: how many aliases of each collection. Collection `n` is `$cN`, its aliases are `$aN_0`,
            `$aN_1`, and so on; the answer has them under the same names.
    """
    names = [(f"c{n}", [f"a{n}_{k}" for k in range(count)]) for n, count in enumerate(counts)]
    taken = ", ".join(
        f"${name}: {kind}"
        for collection, aliases in names
        for name, kind in [(collection, "ID!"), *((alias, "String!") for alias in aliases)]
    )
    asked = "\n".join(
        f"  {collection}: artifactCollection(id: ${collection}) {{ {fields} }}"
        for collection, aliases in names
        for fields in [
            " ".join(
                f"{name}: artifactMembership(aliasName: ${name}) {{ ...Pointed }}"
                for name in aliases
            )
        ]
    )
    return f"""
query ArtifactCollectionAliases({taken}) {{
{asked}
}}
fragment Pointed on ArtifactCollectionMembership {{ artifact {{ id state }} }}
"""


VERSIONS = (
    """
query ProjectArtifacts($entity: String!, $project: String!, $type: String!, $collection: String!,
    $cursor: String, $perPage: Int = 50, $order: String, $filters: JSONString) {
  project(entityName: $entity, name: $project) {
    artifactType(name: $type) {
      artifactCollection(name: $collection) {
        __typename
        artifacts(after: $cursor, first: $perPage, order: $order, filters: $filters) {
          pageInfo { endCursor hasNextPage }
          edges { node { ...VersionFields } }
        }
      }
    }
  }
}
"""
    + _VERSION
)

# As `ProjectArtifacts` lists versions, with who holds and who used each.
SURROUNDINGS = (
    """
query ProjectArtifacts($entity: String!, $project: String!, $type: String!, $collection: String!,
    $cursor: String, $perPage: Int = 50, $order: String, $filters: JSONString) {
  project(entityName: $entity, name: $project) {
    artifactType(name: $type) {
      artifactCollection(name: $collection) {
        __typename
        artifacts(after: $cursor, first: $perPage, order: $order, filters: $filters) {
          pageInfo { endCursor hasNextPage }
          edges {
            node {
              id
              usedBy { edges { node { name createdAt project { name entity { name } } } } }
              ...Places
            }
          }
        }
      }
    }
  }
}
"""
    + _MEMBERSHIPS
)

# `automations/_generated/operations.py`
AUTOMATIONS = """
query GetEntityAutomations($entity: String!, $cursor: String, $perPage: Int) {
  scope: entity(name: $entity) {
    triggers(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges {
        node {
          name
          enabled
          scope {
            __typename
            ... on Project { id name }
            ... on ArtifactPortfolio { id name }
            ... on ArtifactSequence { id name }
            ... on Entity { id name }
          }
          event: triggeringCondition {
            ... on FilterEventTriggeringCondition { eventType filter }
          }
        }
      }
    }
  }
}
"""

VERSION_BY_ID = (
    """
query ArtifactByID($id: ID!) {
  artifact(id: $id) { ...VersionFields }
}
"""
    + _VERSION
)

VERSION_AND_MANIFEST = (
    """
query ArtifactByID($id: ID!) {
  artifact(id: $id) { ...VersionFields currentManifest { file { directUrl } } }
}
"""
    + _VERSION
)

VERSION_BY_NAME = (
    """
query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) {
      artifact { ...VersionFields }
    }
  }
}
"""
    + _VERSION
)

MEMBERSHIPS = (
    """
query FetchLinkedArtifacts($id: ID!) {
  artifact(id: $id) { ...Places }
}
"""
    + _MEMBERSHIPS
)

STANDING = (
    """
query ArtifactByID($id: ID!) {
  artifact(id: $id) {
    ...VersionFields
    ...Places
    usedBy { edges { node { name project { name readOnly entity { name } } } } }
  }
}
"""
    + _VERSION
    + _MEMBERSHIPS
)

MANIFEST = """
query FetchArtifactManifest($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}
"""

# `Artifact.files(names=...)`, as the SDK renews one URL (`storage_policies/wandb_storage_policy.py`).
FILE_URLS = """
query ArtifactMembershipFiles($entity: String!, $project: String!, $collection: String!,
    $alias: String!, $fileNames: [String!], $cursor: String, $perPage: Int = 50) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      __typename
      artifactMembership(aliasName: $alias) {
        files(names: $fileNames, after: $cursor, first: $perPage) {
          pageInfo { endCursor hasNextPage }
          edges { node { name directUrl } }
        }
      }
    }
  }
}
"""

CONSUMERS = """
query ArtifactUsedBy($id: ID!) {
  artifact(id: $id) {
    usedBy { edges { node { name project { name entity { name } } } } }
  }
}
"""

USES = """
query ArtifactUsedBy($id: ID!) {
  artifact(id: $id) {
    usedBy { edges { node { name createdAt heartbeatAt project { name entity { name } } } } }
  }
}
"""

RUN = (
    """
query RunArtifacts($entity: String!, $project: String!, $run: String!, $perPage: Int,
    $inputsCursor: String, $outputsCursor: String) {
  project(entityName: $entity, name: $project) {
    run(name: $run) {
      id
      name
      displayName
      state
      config
      summaryMetrics
      createdAt
      inputArtifacts(after: $inputsCursor, first: $perPage) {
        pageInfo { endCursor hasNextPage }
        edges { node { ...VersionFields } }
      }
      outputArtifacts(after: $outputsCursor, first: $perPage) {
        pageInfo { endCursor hasNextPage }
        edges { node { ...VersionFields } }
      }
    }
  }
}
"""
    + _VERSION
)

# Order and fields as the SDK's `Api.runs` sends them (apis/public/runs.py).
RUNS = """
query Runs($project: String!, $entity: String!, $cursor: String, $perPage: Int = 50, $order: String) {
  project(name: $project, entityName: $entity) {
    runs(after: $cursor, first: $perPage, order: $order) {
      edges { node { name state createdAt heartbeatAt } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""

RUN_CONFIG = """
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) { run(name: $name) { id config } }
}
"""

UPDATE_RUN_CONFIG = """
mutation UpsertBucket($id: String!, $config: JSONString!) {
  upsertBucket(input: {id: $id, config: $config}) { bucket { id } }
}
"""

CREATE_VERSION = """
mutation CreateArtifact($input: CreateArtifactInput!) {
  createArtifact(input: $input) { artifact { id state } }
}
"""

CREATE_MANIFEST = """
mutation CreateArtifactManifest($artifactID: ID!, $baseArtifactID: ID, $name: String!,
    $digest: String!, $entityName: String!, $projectName: String!, $runName: String!,
    $manifestType: ArtifactManifestType!, $includeUpload: Boolean!) {
  createArtifactManifest(input: {artifactID: $artifactID, baseArtifactID: $baseArtifactID,
      name: $name, digest: $digest, entityName: $entityName, projectName: $projectName,
      runName: $runName, type: $manifestType}) {
    artifactManifest {
      id
      file {
        uploadUrl @include(if: $includeUpload)
        uploadHeaders @include(if: $includeUpload)
      }
    }
  }
}
"""

# As in wandb-core 0.31.0; what is answered stands in the order of what was asked.
CREATE_FILES = """
mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) {
    files { edges { node {
      storagePath uploadUrl uploadHeaders
      uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } }
    } } }
  }
}
"""

COMPLETE_MULTIPART = """
mutation CompleteMultipartUploadArtifact($completeMultipartAction: CompleteMultipartAction!,
    $completedParts: [UploadPartsInput!]!, $artifactID: ID!, $storagePath: String!,
    $uploadID: String!) {
  completeMultipartUploadArtifact(input: {completeMultipartAction: $completeMultipartAction,
      completedParts: $completedParts, artifactID: $artifactID, storagePath: $storagePath,
      uploadID: $uploadID}) { digest }
}
"""

COMMIT_VERSION = (
    """
mutation CommitArtifact($artifactID: ID!) {
  commitArtifact(input: {artifactID: $artifactID}) { artifact { ...VersionFields } }
}
"""
    + _VERSION
)

UPDATE_VERSION = """
mutation UpdateArtifact($input: UpdateArtifactInput!) {
  result: updateArtifact(input: $input) { artifact { id } }
}
"""

DELETE_VERSION = """
mutation DeleteArtifact($input: DeleteArtifactInput!) {
  result: deleteArtifact(input: $input) { artifact { id } }
}
"""

ADD_ALIASES = """
mutation AddAliases($input: AddAliasesInput!) {
  result: addAliases(input: $input) { success }
}
"""

# The newest link becomes `latest`. The second mutation of the same request undoes that: they are done
# one after the other, and nobody sees what is between.
_LINK = """
  result: linkArtifact(input: $input) {
    artifactMembership {
      versionIndex aliases { alias } artifactCollection { ...PlaceFields }
    }
  }
"""

LINK = f"mutation LinkArtifact($input: LinkArtifactInput!) {{{_LINK}}}{_COLLECTION}"

LINK_GIVING_BACK = f"""
mutation LinkArtifact($input: LinkArtifactInput!, $back: AddAliasesInput!) {{{_LINK}
  back: addAliases(input: $back) {{ success }}
}}{_COLLECTION}"""

LINK_TAKING_OFF = f"""
mutation LinkArtifact($input: LinkArtifactInput!, $off: DeleteAliasesInput!) {{{_LINK}
  off: deleteAliases(input: $off) {{ success }}
}}{_COLLECTION}"""

UNLINK = """
mutation UnlinkArtifact($input: UnlinkArtifactInput!) {
  result: unlinkArtifact(input: $input) { success }
}
"""

USE_VERSION = """
mutation UseArtifact($input: UseArtifactInput!) {
  useArtifact(input: $input) { artifact { id } }
}
"""
