-- Automations, and what sets them off.
--
-- A firing is one event that concerns one automation. SQL triggers note it in the transaction that makes the event,
-- so none is lost or invented whatever code made the change, and it outlives a killed server. `author()` is the
-- name of who asks, provided by the connection.

CREATE TABLE IF NOT EXISTS secrets (
    entity_id INTEGER NOT NULL REFERENCES entities (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (entity_id, name)
) WITHOUT ROWID;

-- The references are names of secrets of the same entity.
CREATE TABLE IF NOT EXISTS webhooks (
    id INTEGER PRIMARY KEY,
    entity_id INTEGER NOT NULL REFERENCES entities (id),
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    access_token_ref TEXT,
    secret_ref TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (entity_id, name)
);

-- The scope is a collection, or else a project, or else an entity.
CREATE TABLE IF NOT EXISTS automations (
    id INTEGER PRIMARY KEY,
    entity_id INTEGER NOT NULL REFERENCES entities (id),
    project_id INTEGER REFERENCES projects (id) ON DELETE CASCADE,
    collection_id INTEGER REFERENCES collections (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    enabled INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    event_filter TEXT NOT NULL,
    action_type TEXT NOT NULL,
    webhook_id INTEGER REFERENCES webhooks (id),
    payload TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS automation_names
ON automations (entity_id, IFNULL(project_id, 0), IFNULL(collection_id, 0), name);
CREATE INDEX IF NOT EXISTS automations_by_event ON automations (event_type);

-- `value` is the alias or tag the event is about. A firing stays until it is delivered, skipped or given up.
CREATE TABLE IF NOT EXISTS firings (
    id INTEGER PRIMARY KEY,
    automation_id INTEGER NOT NULL REFERENCES automations (id) ON DELETE CASCADE,
    event_type TEXT NOT NULL,
    author TEXT NOT NULL,
    collection_id INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    artifact_id INTEGER REFERENCES artifacts (id) ON DELETE CASCADE,
    version_index INTEGER,
    value TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS firings_by_due ON firings (due, id);

-- Which automations watch which collection for what.
CREATE VIEW IF NOT EXISTS watches AS
SELECT
    w.id AS automation_id,
    w.event_type,
    c.id AS collection_id,
    c.kind
FROM collections c
JOIN projects p ON p.id = c.project_id
JOIN automations w ON
    w.entity_id = p.entity_id
    AND (w.project_id IS NULL OR w.project_id = p.id)
    AND (w.collection_id IS NULL OR w.collection_id = c.id)
WHERE w.enabled AND w.action_type = 'GENERIC_WEBHOOK';

CREATE TRIGGER IF NOT EXISTS version_joined AFTER INSERT ON memberships BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index)
SELECT w.automation_id, w.event_type, author(), NEW.collection_id, NEW.artifact_id, NEW.version_index
FROM watches w
WHERE
    w.collection_id = NEW.collection_id
    AND w.event_type = IIF(w.kind = 'SEQUENCE', 'CREATE_ARTIFACT', 'LINK_MODEL');
END;

CREATE TRIGGER IF NOT EXISTS version_left AFTER DELETE ON memberships BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index)
SELECT w.automation_id, w.event_type, author(), OLD.collection_id, OLD.artifact_id, OLD.version_index
FROM watches w
WHERE w.collection_id = OLD.collection_id AND w.event_type = 'UNLINK_ARTIFACT' AND w.kind = 'PORTFOLIO';
END;

CREATE TRIGGER IF NOT EXISTS alias_added AFTER INSERT ON aliases BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index, value)
SELECT w.automation_id, w.event_type, author(), m.collection_id, m.artifact_id, m.version_index, NEW.alias
FROM watches w JOIN memberships m ON m.id = NEW.membership_id
WHERE w.collection_id = NEW.collection_id AND w.event_type = 'ADD_ARTIFACT_ALIAS';
END;

CREATE TRIGGER IF NOT EXISTS alias_moved AFTER UPDATE OF membership_id ON aliases
WHEN NEW.membership_id <> OLD.membership_id BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index, value)
SELECT w.automation_id, w.event_type, author(), m.collection_id, m.artifact_id, m.version_index, NEW.alias
FROM watches w JOIN memberships m ON m.id = NEW.membership_id
WHERE w.collection_id = NEW.collection_id AND w.event_type = 'ADD_ARTIFACT_ALIAS';
END;

-- A version's tags count wherever it is a member, but once for each automation. One that is not committed yet is
-- a member of nothing: its first tags count as it joins.
CREATE TRIGGER IF NOT EXISTS version_tagged AFTER INSERT ON artifact_tags BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index, value)
SELECT w.automation_id, w.event_type, author(), m.collection_id, m.artifact_id, m.version_index, g.name
FROM memberships m
JOIN watches w ON w.collection_id = m.collection_id AND w.event_type = 'ADD_ARTIFACT_TAG'
JOIN tags g ON g.id = NEW.tag_id
WHERE m.artifact_id = NEW.artifact_id
GROUP BY w.automation_id;
END;

CREATE TRIGGER IF NOT EXISTS tagged_version_joined AFTER INSERT ON memberships BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index, value)
SELECT w.automation_id, w.event_type, author(), NEW.collection_id, NEW.artifact_id, NEW.version_index, g.name
FROM watches w
JOIN artifact_tags t ON t.artifact_id = NEW.artifact_id
JOIN tags g ON g.id = t.tag_id
WHERE
    w.collection_id = NEW.collection_id AND w.event_type = 'ADD_ARTIFACT_TAG' AND w.kind = 'SEQUENCE';
END;

CREATE TRIGGER IF NOT EXISTS version_untagged AFTER DELETE ON artifact_tags BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, artifact_id, version_index, value)
SELECT w.automation_id, w.event_type, author(), m.collection_id, m.artifact_id, m.version_index, g.name
FROM memberships m
JOIN watches w ON w.collection_id = m.collection_id AND w.event_type = 'REMOVE_ARTIFACT_TAG'
JOIN tags g ON g.id = OLD.tag_id
WHERE m.artifact_id = OLD.artifact_id
GROUP BY w.automation_id;
END;

CREATE TRIGGER IF NOT EXISTS collection_tagged AFTER INSERT ON collection_tags BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, value)
SELECT w.automation_id, w.event_type, author(), NEW.collection_id, g.name
FROM watches w JOIN tags g ON g.id = NEW.tag_id
WHERE w.collection_id = NEW.collection_id AND w.event_type = 'ADD_COLLECTION_TAG';
END;

CREATE TRIGGER IF NOT EXISTS collection_untagged AFTER DELETE ON collection_tags BEGIN
INSERT INTO firings (automation_id, event_type, author, collection_id, value)
SELECT w.automation_id, w.event_type, author(), OLD.collection_id, g.name
FROM watches w JOIN tags g ON g.id = OLD.tag_id
WHERE w.collection_id = OLD.collection_id AND w.event_type = 'REMOVE_COLLECTION_TAG';
END;
