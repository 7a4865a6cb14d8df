-- Tables of the sandbox. Times are text (UTC, seconds), JSON documents are text as the client wrote them.

CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    api_key TEXT NOT NULL UNIQUE,
    admin INTEGER NOT NULL,
    default_entity TEXT NOT NULL,
    flags TEXT,
    deleted_at TEXT
);

CREATE TABLE IF NOT EXISTS entities (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'team', 'organization')),
    user_id INTEGER REFERENCES users (id),
    organization_id INTEGER REFERENCES organizations (id)
);

CREATE TABLE IF NOT EXISTS organizations (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    entity_id INTEGER NOT NULL REFERENCES entities (id)
);

CREATE TABLE IF NOT EXISTS members (
    entity_id INTEGER NOT NULL REFERENCES entities (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    PRIMARY KEY (entity_id, user_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS projects (
    id INTEGER PRIMARY KEY,
    entity_id INTEGER NOT NULL REFERENCES entities (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    description TEXT,
    access TEXT,
    any_type INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (entity_id, name)
);

CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    display_name TEXT,
    description TEXT,
    notes TEXT,
    state TEXT NOT NULL,
    config TEXT NOT NULL DEFAULT '{}',
    summary_metrics TEXT NOT NULL DEFAULT '{}',
    group_name TEXT,
    job_type TEXT,
    git_commit TEXT,
    host TEXT,
    program TEXT,
    repo TEXT,
    sweep_name TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    stopped INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER,
    history_keys TEXT NOT NULL DEFAULT '{"keys": {}, "lastStep": -1}',
    history_line_count INTEGER NOT NULL DEFAULT 0,
    events_line_count INTEGER NOT NULL DEFAULT 0,
    log_line_count INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE IF NOT EXISTS run_lines (
    run_id INTEGER NOT NULL REFERENCES runs (id),
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (run_id, stream, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS run_files (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    md5 TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (run_id, name)
);

CREATE TABLE IF NOT EXISTS artifact_types (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    description TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE IF NOT EXISTS collections (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    type_id INTEGER NOT NULL REFERENCES artifact_types (id),
    kind TEXT NOT NULL CHECK (kind IN ('SEQUENCE', 'PORTFOLIO')),
    name TEXT NOT NULL,
    description TEXT,
    state TEXT NOT NULL DEFAULT 'READY',
    digest_algorithm TEXT,
    next_index INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS collection_names ON collections (project_id, name) WHERE state = 'READY';
CREATE INDEX IF NOT EXISTS collections_of_type ON collections (type_id);

CREATE TABLE IF NOT EXISTS tags (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS collection_tags (
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    tag_id INTEGER NOT NULL REFERENCES tags (id),
    PRIMARY KEY (collection_id, tag_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS artifacts (
    id INTEGER PRIMARY KEY,
    sequence_id INTEGER NOT NULL REFERENCES collections (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    run_id INTEGER REFERENCES runs (id),
    state TEXT NOT NULL DEFAULT 'PENDING',
    version_index INTEGER,
    digest TEXT NOT NULL,
    digest_algorithm TEXT,
    description TEXT,
    metadata TEXT,
    ttl_seconds INTEGER,
    history_step INTEGER,
    distributed_id TEXT,
    wanted_aliases TEXT NOT NULL DEFAULT '[]',
    size INTEGER NOT NULL DEFAULT 0,
    file_count INTEGER NOT NULL DEFAULT 0,
    commit_hash TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS artifacts_by_digest ON artifacts (sequence_id, digest);
CREATE INDEX IF NOT EXISTS artifacts_by_distributed_id ON artifacts (sequence_id, distributed_id)
WHERE distributed_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS artifact_tags (
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    tag_id INTEGER NOT NULL REFERENCES tags (id),
    PRIMARY KEY (artifact_id, tag_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS client_ids (
    client_id TEXT PRIMARY KEY,
    artifact_id INTEGER,
    collection_id INTEGER
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS memberships (
    id INTEGER PRIMARY KEY,
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    version_index INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (collection_id, artifact_id),
    UNIQUE (collection_id, version_index)
);
CREATE INDEX IF NOT EXISTS memberships_of_artifact ON memberships (artifact_id);

CREATE TABLE IF NOT EXISTS aliases (
    id INTEGER PRIMARY KEY,
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    membership_id INTEGER NOT NULL REFERENCES memberships (id) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    UNIQUE (collection_id, alias)
);
CREATE INDEX IF NOT EXISTS aliases_of_membership ON aliases (membership_id);

CREATE TABLE IF NOT EXISTS manifests (
    id INTEGER PRIMARY KEY,
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    base_artifact_id INTEGER REFERENCES artifacts (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    digest TEXT NOT NULL
);
-- Each process that writes to a distributed version brings a patch of its own.
CREATE UNIQUE INDEX IF NOT EXISTS manifest_names ON manifests (artifact_id, name, type) WHERE type <> 'PATCH';
CREATE INDEX IF NOT EXISTS manifests_of_artifact ON manifests (artifact_id);

-- A file announced for upload: which MD5 holds the bytes of an entry's digest.
CREATE TABLE IF NOT EXISTS uploads (
    id INTEGER PRIMARY KEY,
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    md5 TEXT NOT NULL,
    UNIQUE (artifact_id, name)
);
CREATE INDEX IF NOT EXISTS uploads_by_md5 ON uploads (md5);

-- A file on its way in parts: the hex MD5 of each, as a JSON list.
CREATE TABLE IF NOT EXISTS multipart_uploads (
    id INTEGER PRIMARY KEY,
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    blob TEXT NOT NULL,
    parts TEXT NOT NULL
);

-- The entries of a committed manifest. blob is the hex MD5 of the stored bytes, null for a reference.
CREATE TABLE IF NOT EXISTS entries (
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    position INTEGER NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    blob TEXT,
    size INTEGER NOT NULL,
    ref TEXT,
    PRIMARY KEY (artifact_id, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_path ON entries (artifact_id, path);
CREATE INDEX IF NOT EXISTS entries_by_blob ON entries (blob) WHERE blob IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_by_digest ON entries (digest);

CREATE TABLE IF NOT EXISTS inputs (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    used_as TEXT,
    UNIQUE (run_id, artifact_id)
);
CREATE INDEX IF NOT EXISTS inputs_by_artifact ON inputs (artifact_id);

CREATE TABLE IF NOT EXISTS outputs (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id),
    UNIQUE (run_id, artifact_id)
);
CREATE INDEX IF NOT EXISTS outputs_by_artifact ON outputs (artifact_id);

-- Who may use a registry, beside those its organization lets in: a user or a team, in a role.
CREATE TABLE IF NOT EXISTS project_members (
    project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('User', 'Entity')),
    member_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (project_id, kind, member_id)
) WITHOUT ROWID;
