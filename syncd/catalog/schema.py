"""The catalog's tables (SQLAlchemy Core), the same on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# One row per version of W&B that syncd has looked at; `state` is where it stands.
versions = Table(
    "syncd_versions",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("entity", String(255), nullable=False),
    Column("project", String(255), nullable=False),
    Column("collection", String(255), nullable=False),
    Column("version_index", Integer, nullable=False),
    Column("type", String(255), nullable=False, default=""),
    Column("state", String(32), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("workflow_id", String(128), nullable=False, default=""),
    Column("created_at", String(40), nullable=False, default=""),
    Column("updated_at", String(40), nullable=False, default=""),
    Column("size", BigInteger, nullable=False, default=0),
    Column("namespace", String(255), nullable=False, default=""),
    Column("repo", String(255), nullable=False, default=""),
    Column("commit_id", String(64), nullable=False, default=""),
    Column("replacement_id", String(64), nullable=False, default=""),
    Column("replacement", Text, nullable=False, default=""),
    Column("moved_files", Integer, nullable=False, default=0),
    Column("moved_bytes", BigInteger, nullable=False, default=0),
    Column("kept_bytes", BigInteger, nullable=False, default=0),
    Column("downloaded", BigInteger, nullable=False, default=0),
    Column("uploaded", BigInteger, nullable=False, default=0),
    Column("deduplicated", BigInteger, nullable=False, default=0),
    Column("failed_stage", String(32), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("hint", Text, nullable=False, default=""),
    Index("syncd_versions_by_name", "entity", "project", "collection", "version_index"),
    Index("syncd_versions_by_state", "state"),
    Index("syncd_versions_by_replacement", "replacement_id"),
    Index("syncd_versions_by_commit", "commit_id"),
)

# Which content of Oxen a digest of W&B stands for, learned while the bytes passed.
contents = Table(
    "syncd_contents",
    metadata,
    Column("algorithm", String(8), primary_key=True),
    Column("digest", String(32), primary_key=True),
    Column("hash", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
)

# Contents of a repository that were read back, and whether they were found right.
verified = Table(
    "syncd_verified",
    metadata,
    Column("namespace", String(255), primary_key=True),
    Column("repo", String(255), primary_key=True),
    Column("hash", String(32), primary_key=True),
    Column("good", Boolean, nullable=False),
    Column("verified_at", String(40), nullable=False),
)

# Runs whose config could not be written yet, because they were still running.
runs_due = Table(
    "syncd_runs_due",
    metadata,
    Column("entity", String(255), primary_key=True),
    Column("project", String(255), primary_key=True),
    Column("run_id", String(255), primary_key=True),
)

# Versions in which there was nothing to move, and under which configuration that was decided.
settled = Table(
    "syncd_settled",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("reason", Text, nullable=False),
)

# Collections in which nothing was left to do: what they looked like then.
cursors = Table(
    "syncd_cursors",
    metadata,
    Column("entity", String(255), primary_key=True),
    Column("project", String(255), primary_key=True),
    Column("collection", String(255), primary_key=True),
    Column("seen", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("looked_at", String(40), nullable=False),
)

# When a version failed for good, the first time and the last.
failures = Table(
    "syncd_failures",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("first_at", String(40), nullable=False),
    Column("last_at", String(40), nullable=False),
)

# Where versions were moved to: Oxen servers, and folders with the id in their mark.
stores = Table(
    "syncd_stores",
    metadata,
    Column("url", String(1024), primary_key=True),
    Column("mark", String(64), nullable=False),
)

# Versions that a process is moving, or was moving when it died: one that ends otherwise leaves none.
deaths = Table(
    "syncd_deaths",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("life", String(32), nullable=False),  # the process that moves it; empty for none
    Column("alone", Boolean, nullable=False),  # whether that moves nothing else beside it
    Column("machine", String(64), nullable=False),  # and the start of the kernel under it
    Column("oom_kills", BigInteger, nullable=False),  # of that kernel, when it began
    Column("crashed", Boolean, nullable=False),  # whether it left word of a fatal signal
    Column("stage", String(32), nullable=False),  # of the version when processes died
    Column("times", Integer, nullable=False),  # deaths without any progress between
    Column("times_alone", Integer, nullable=False),  # of these, with nothing beside it
    Column("times_explained", Integer, nullable=False),  # and with a cause that is known
    Column("suspect", Boolean, nullable=False),
)

# What was taken out of W&B, and when: the bytes it was expected to free.
reclaimed = Table(
    "syncd_reclaimed",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("at", String(40), nullable=False),
)

# Replaced versions that a sweep looked at closely and had to leave, and when it did last.
refused = Table(
    "syncd_refused",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("at", String(40), nullable=False),
)

# Replaced versions that a sweep left, and the reasons that were told of it, shortened.
told = Table(
    "syncd_told",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("reasons", String(32), nullable=False),
)

# What a sweep read of a version's manifest, as long as W&B lists the version; by its name, so that
# those that are gone are found beside those that are listed.
readings = Table(
    "syncd_readings",
    metadata,
    Column("entity", String(255), primary_key=True),
    Column("project", String(255), primary_key=True),
    Column("collection", String(255), primary_key=True),
    Column("version_index", Integer, primary_key=True, autoincrement=False),
    Column("artifact_id", String(64), nullable=False),
    Column("seen", String(64), nullable=False),
    Column("pointers", Text, nullable=False),  # GraphQL ids, with blanks between
    Column("contents", LargeBinary, nullable=False),
)

# When a project's runs were last heard of, before which all that had ended were looked at.
run_cursors = Table(
    "syncd_run_cursors",
    metadata,
    Column("entity", String(255), primary_key=True),
    Column("project", String(255), primary_key=True),
    Column("at", String(40), nullable=False),
)

# When runs that ended were last heard of as they were looked at: one that was resumed since is another.
heard = Table(
    "syncd_heard",
    metadata,
    Column("run", String(800), primary_key=True),  # entity/project/runs/ID
    Column("at", String(40), nullable=False),
)

# What a webhook said, until somebody has looked: at most one row per project and collection.
hints = Table(
    "syncd_hints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(511), nullable=False),
    Column("collection", String(255), nullable=False, default=""),
    Column("at", Double, nullable=False),
    Index("syncd_hints_by_name", "project", "collection", unique=True),
    sqlite_autoincrement=True,  # an id names one row for ever, also after that was taken
)

# The last sign of life of each process, and what it told of itself (JSON).
beats = Table(
    "syncd_beats",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("at", Double, nullable=False),
    Column("detail", Text, nullable=False),
)

# The journal of promotions and deployments, which Oxen keeps: one row per event.
events = Table(
    "syncd_events",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("at", String(40), nullable=False),
    Column("number", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("entity", String(255), nullable=False),
    Column("project", String(255), nullable=False),
    Column("collection", String(255), nullable=False),
    Column("detail", Text, nullable=False),
)

# Triggers and the versions they are told of, once each.
firings = Table(
    "syncd_firings",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("trigger", String(255), nullable=False),
    Column("version", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("error", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("syncd_firings_by_state", "state", "next_at"),
)

# What the lineage files of promoted commits say (JSON): artifact, run, inputs.
stories = Table(
    "syncd_stories",
    metadata,
    Column("namespace", String(255), primary_key=True),
    Column("repo", String(255), primary_key=True),
    Column("commit_id", String(64), primary_key=True),
    Column("detail", Text, nullable=False),
)

# Versions around runs, whether syncd moved them or not, each once: a version, what replaces it and
# what was restored from it are one row, under the id of the version that was logged first.
relatives = Table(
    "syncd_relatives",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("entity", String(255), nullable=False),
    Column("project", String(255), nullable=False),
    Column("collection", String(255), nullable=False),
    Column("version_index", Integer, nullable=False),
    Column("type", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("namespace", String(255), nullable=False, default=""),
    Column("repo", String(255), nullable=False, default=""),
    Column("commit_id", String(64), nullable=False, default=""),
    Column("replacement_index", Integer, nullable=False, default=-1),  # in the same collection
    Index("syncd_relatives_by_name", "entity", "project", "collection", "version_index"),
    Index("syncd_relatives_by_replacement", "entity", "project", "collection", "replacement_index"),
    Index(  # with the number, or SQLite would rather have the order of the one by name
        "syncd_relatives_by_digest", "entity", "project", "collection", "digest", "version_index"
    ),
    Index("syncd_relatives_by_commit", "commit_id"),
)

# Runs around them. One that was only named by a version it logged has not been looked at.
runs = Table(
    "syncd_runs",
    metadata,
    Column("run", String(800), primary_key=True),  # entity/project/runs/ID
    Column("name", Text, nullable=False, default=""),
    Column("state", String(32), nullable=False, default=""),
    Column("url", Text, nullable=False, default=""),
    Column("created_at", String(40), nullable=False, default=""),
    Column("seen", Boolean, nullable=False),
)

# Which run used which version, and which logged it; with an index for each way to follow it.
uses = Table(
    "syncd_uses",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("run", String(800), primary_key=True),
    Column("role", String(8), primary_key=True),  # input, output
    Index("syncd_uses_by_run", "run", "role", "artifact_id"),
)
